/* See fetched_record.h. Its bytes were found to be whole when it was read: fetched_batch.c. */

#include "fetched_record.h"

#include <structmember.h>

#include "records.h"

static PyObject *bytes_of(const Text *text)
{
    return text->chars == NULL ? Py_NewRef(Py_None) : PyBytes_FromStringAndSize(text->chars, text->length);
}

PyObject *record_key(const Record *record)
{
    return bytes_of(&record->key);
}

PyObject *record_header(const Record *record, PyObject *name)
{
    Text wanted, found, value, last = {NULL, 0};
    Reader reader = reader_within(&record->headers);
    int is_there = 0;
    wanted.chars = PyUnicode_AsUTF8AndSize(name, &wanted.length);
    if (wanted.chars == NULL)
        return NULL;
    while (reader.at < reader.end && read_header(&reader, &found, &value))
        if (is_equal(&found, &wanted)) {
            last = value;
            is_there = 1;
        }
    if (!is_there)
        PyErr_SetObject(PyExc_KeyError, name);
    return is_there ? bytes_of(&last) : NULL;
}

static PyObject *get_key(Record *self, void *Py_UNUSED(closure))
{
    return record_key(self);
}

static PyObject *get_value(Record *self, void *Py_UNUSED(closure))
{
    return bytes_of(&self->value);
}

/* The name, whatever it is: anybody may send one that is not UTF-8, and its record is to be decided all the same. */
static PyObject *name_of(const Text *text)
{
    return PyUnicode_DecodeUTF8(text->chars, text->length, "backslashreplace");
}

static PyObject *get_headers(Record *self, void *Py_UNUSED(closure))
{
    Reader reader = reader_within(&self->headers);
    Text name, value;
    PyObject *headers = PyList_New(0);
    while (headers != NULL && reader.at < reader.end && read_header(&reader, &name, &value)) {
        PyObject *header = Py_BuildValue("NN", name_of(&name), bytes_of(&value));
        if (header == NULL || PyList_Append(headers, header) < 0)
            Py_CLEAR(headers);
        Py_XDECREF(header);
    }
    PyObject *made = headers == NULL ? NULL : PyList_AsTuple(headers);
    Py_XDECREF(headers);
    return made;
}

static PyObject *get_checksum(Record *Py_UNUSED(self), void *Py_UNUSED(closure))
{
    return Py_NewRef(Py_None);
}

static void record_dealloc(Record *self)
{
    Py_DECREF(self->fetched);
    PyObject_Free(self);
}

static PyMemberDef record_members[] = {
    {"offset", T_LONGLONG, offsetof(Record, offset), READONLY, "its place in the log"},
    {"timestamp", T_LONGLONG, offsetof(Record, timestamp), READONLY, "in ms"},
    {"timestamp_type", T_INT, offsetof(Record, timestamp_type), READONLY, "1 where the broker set it, 0 where the sender"},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef record_attributes[] = {
    {"key", (getter)get_key, NULL, "bytes or None, made anew each time", NULL},
    {"value", (getter)get_value, NULL, "bytes or None, made anew each time", NULL},
    {"headers", (getter)get_headers, NULL, "pairs of a name and bytes or None, made anew each time; of a name that is not UTF-8, its bytes as \\xNN", NULL},
    {"checksum", (getter)get_checksum, NULL, "None: this format has one for the whole batch", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject RecordType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "schemas._plain.Record",
    .tp_doc = "A record of Kafka in the bytes of a fetch, which live as long as it does.",
    .tp_basicsize = sizeof(Record),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)record_dealloc,
    .tp_members = record_members,
    .tp_getset = record_attributes,
};
