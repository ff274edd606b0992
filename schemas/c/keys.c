/* Unique keys as RocksDB is asked for them and given them: behind a prefix, and in their order. */

#include "fetched_record.h"
#include "functions.h"

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

/* Whether it was put; takes the reference to the place, which may be NULL with an exception set. */
static int put_place(PyObject *put, const Text *prefix, const Text *key, PyObject *place)
{
    PyObject *fields[2] = {place == NULL ? NULL : prefixed_key(prefix, key), place};
    PyObject *done = fields[0] == NULL ? NULL : PyObject_Vectorcall(put, fields, 2, NULL);
    Py_XDECREF(fields[0]);
    Py_XDECREF(place);
    Py_XDECREF(done);
    return done != NULL;
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
        if (PyBytes_CheckExact(key)) {
            Text text = {PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)};
            failed = !put_place(args[0], &prefix, &text, Py_XNewRef(PyDict_GetItemWithError(args[2], key)));
        } else {
            PyErr_SetString(PyExc_TypeError, "a key is bytes");
            failed = 1;
        }
    }
    Py_XDECREF(keys);
    return failed ? NULL : Py_NewRef(Py_None);
}

static int by_key_and_offset(const void *one, const void *other)
{
    const Record *a = *(const Record *const *)one, *b = *(const Record *const *)other;
    Py_ssize_t shorter = a->key.length < b->key.length ? a->key.length : b->key.length;
    int order = memcmp(a->key.chars, b->key.chars, (size_t)shorter);
    if (order == 0)
        order = (a->key.length > b->key.length) - (a->key.length < b->key.length);
    return order != 0 ? order : (a->offset > b->offset) - (a->offset < b->offset);
}

/* The records of a tuple in the order of their keys; NULL where one does not lie in a fetch or has no key, or with an
   exception set. */
static const Record **sorted_records(PyObject *records)
{
    Py_ssize_t size = PyTuple_GET_SIZE(records);
    const Record **sorted = PyMem_New(const Record *, (size_t)size);
    if (sorted == NULL)
        PyErr_NoMemory();
    for (Py_ssize_t i = 0; sorted != NULL && i < size; i++) {
        sorted[i] = (const Record *)PyTuple_GET_ITEM(records, i);
        if (!is_record((PyObject *)sorted[i]) || sorted[i]->key.chars == NULL) {
            PyMem_Free((void *)sorted);
            sorted = NULL;
        }
    }
    if (sorted != NULL)
        qsort((void *)sorted, (size_t)size, sizeof *sorted, by_key_and_offset);
    return sorted;
}

PyDoc_STRVAR(put_fetched_doc,
             "put_fetched(put, prefix, records, name)\n--\n\n"
             "put(key with the prefix, value of the header of the name) of each record, in the order of the keys, and of"
             " one key in the order of the offsets. Returns whether it did: it puts none where one of the records does not"
             " lie in a fetch, or has no key.");

static PyObject *put_fetched(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    Text prefix;
    if (!takes(count, 4, "put_fetched() takes a callable, a prefix, records and a name")
        || !is_prefix_and_list(args[1], args[2], &prefix))
        return NULL;
    PyObject *records = PyList_AsTuple(args[2]); /* which nobody changes meanwhile */
    const Record **sorted = records == NULL ? NULL : sorted_records(records);
    int failed = sorted == NULL;
    for (Py_ssize_t i = 0; !failed && i < PyTuple_GET_SIZE(records); i++)
        failed = !put_place(args[0], &prefix, &sorted[i]->key, record_header(sorted[i], args[3]));
    PyMem_Free((void *)sorted);
    Py_XDECREF(records);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(!failed);
}

PyMethodDef key_functions[] = {
    {"prefixed", (PyCFunction)(void (*)(void))prefixed, METH_FASTCALL, prefixed_doc},
    {"put_places", (PyCFunction)(void (*)(void))put_places, METH_FASTCALL, put_places_doc},
    {"put_fetched", (PyCFunction)(void (*)(void))put_fetched, METH_FASTCALL, put_fetched_doc},
    {NULL, NULL, 0, NULL},
};
