/* Unique keys as RocksDB is asked for them and given them: behind a prefix, and in their order. */

#include "functions.h"
#include "reading.h"

static PyObject *prefixed_key(const Text *prefix, const Text *key)
{
    PyObject *made = PyBytes_FromStringAndSize(NULL, prefix->length + key->length);
    if (made != NULL) {
        memcpy(PyBytes_AS_STRING(made), prefix->chars, (size_t)prefix->length);
        memcpy(PyBytes_AS_STRING(made) + prefix->length, key->chars, (size_t)key->length);
    }
    return made;
}

static int is_prefix_and_list(PyObject *prefix, PyObject *list, Text *text)
{
    if (!PyBytes_CheckExact(prefix) || !PyList_CheckExact(list)) {
        PyErr_SetString(PyExc_TypeError, "a prefix is bytes, and what it is put before is a list");
        return 0;
    }
    text->chars = PyBytes_AS_STRING(prefix);
    text->length = PyBytes_GET_SIZE(prefix);
    return 1;
}

PyDoc_STRVAR(prefixed_doc, "prefixed(prefix, keys)\n--\n\nThe keys with a prefix.");

static PyObject *prefixed(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    Text prefix;
    if (!takes(count, 2, "prefixed() takes a prefix and keys") || !is_prefix_and_list(args[0], args[1], &prefix))
        return NULL;
    PyObject *keys = PyList_New(PyList_GET_SIZE(args[1]));
    for (Py_ssize_t i = 0; keys != NULL && i < PyList_GET_SIZE(args[1]); i++) {
        PyObject *key = PyList_GET_ITEM(args[1], i), *made = NULL;
        if (PyBytes_CheckExact(key)) {
            Text text = {PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)};
            made = prefixed_key(&prefix, &text);
        } else
            PyErr_SetString(PyExc_TypeError, "a key is bytes");
        if (made == NULL)
            Py_CLEAR(keys);
        else
            PyList_SET_ITEM(keys, i, made);
    }
    return keys;
}

static int put_place(PyObject *put, const Text *prefix, PyObject *key, PyObject *place)
{
    if (!PyBytes_CheckExact(key)) {
        PyErr_SetString(PyExc_TypeError, "a key is bytes");
        return -1;
    }
    Text text = {PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)};
    PyObject *fields[2] = {prefixed_key(prefix, &text), place};
    PyObject *done = fields[0] == NULL ? NULL : PyObject_Vectorcall(put, fields, 2, NULL);
    Py_XDECREF(fields[0]);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

PyDoc_STRVAR(put_places_doc, "put_places(put, prefix, taken)\n--\n\n"
                             "put(key with the prefix, place) of each key of a dict, in the order of the keys.");

static PyObject *put_places(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    if (!takes(count, 3, "put_places() takes a callable, a prefix and a dict"))
        return NULL;
    PyObject *keys = PyDict_Keys(args[2]);
    Text prefix;
    int failed = keys == NULL || !is_prefix_and_list(args[1], keys, &prefix) || PyList_Sort(keys) < 0;
    for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(keys); i++) {
        PyObject *key = PyList_GET_ITEM(keys, i);
        PyObject *place = PyDict_GetItemWithError(args[2], key);
        failed = place == NULL || put_place(args[0], &prefix, key, place) < 0;
    }
    Py_XDECREF(keys);
    return failed ? NULL : Py_NewRef(Py_None);
}

PyMethodDef key_functions[] = {
    {"prefixed", (PyCFunction)(void (*)(void))prefixed, METH_FASTCALL, prefixed_doc},
    {"put_places", (PyCFunction)(void (*)(void))put_places, METH_FASTCALL, put_places_doc},
    {NULL, NULL, 0, NULL},
};
