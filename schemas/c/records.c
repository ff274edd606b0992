/* Records of Kafka: accepted events as a batch of a topic holds them, and its checksum. */

#include "records.h"
#include "fetched_record.h"
#include "functions.h"

/* The members of aggregator.rules.verdicts.Accepted, a named tuple. */
enum { KEY, PLACE, VALUE, RECORD, ACCEPTED_MEMBERS };

static int is_accepted(PyObject *accepted)
{
    if (PyTuple_Check(accepted) && PyTuple_GET_SIZE(accepted) == ACCEPTED_MEMBERS) {
        int is_bytes = 1;
        for (int member = KEY; member <= VALUE; member++)
            is_bytes = is_bytes && PyBytes_CheckExact(PyTuple_GET_ITEM(accepted, member));
        if (is_bytes)
            return 1;
    }
    PyErr_SetString(PyExc_TypeError, "an accepted event is a tuple of key, place and value, in bytes, and its record");
    return 0;
}

static Text bytes_at(PyObject *accepted, int member)
{
    PyObject *value = PyTuple_GET_ITEM(accepted, member);
    Text text = {PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)};
    return text;
}

/* Whether the record was added behind what is used of the buffer; 0 where it would exceed the limit, -1 with an
   exception set. */
static int add_record(PyObject *buffer, Py_ssize_t *used, const BatchRecord *record, Py_ssize_t limit)
{
    Py_ssize_t size = *used + sized(record_length(record));
    if (size > limit)
        return 0;
    if (size > PyByteArray_GET_SIZE(buffer)) {
        Py_ssize_t room = 2 * size < limit ? 2 * size : limit;
        if (PyByteArray_Resize(buffer, room > size ? room : size) < 0)
            return -1;
    }
    put_record(PyByteArray_AS_STRING(buffer) + *used, record);
    *used = size;
    return 1;
}

PyDoc_STRVAR(records_doc,
             "records(buffer, used, accepted, start, first_offset, limit)\n--\n\n"
             "Write accepted events from an index on into a bytearray, behind what is used of it and up to a limit, as"
             " records of Kafka's message format 2: each with its key, its value, and its place as a header. Returns what"
             " is used now, and how many records were written.");

static PyObject *records(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    static const Text place = {"place", 5};
    Py_ssize_t numbers[4] = {0};
    if (!takes(count, 6, "records() takes the six arguments that it names"))
        return NULL;
    for (int i = 0; i < 4; i++) {
        numbers[i] = PyLong_AsSsize_t(args[i == 0 ? 1 : i + 2]);
        if (numbers[i] == -1 && PyErr_Occurred())
            return NULL;
    }
    Py_ssize_t used = numbers[0], start = numbers[1], first = numbers[2], limit = numbers[3], i;
    if (!PyByteArray_CheckExact(args[0]) || !PyList_CheckExact(args[2]) || start < 0 || first < 0 || used < 0
        || used > PyByteArray_GET_SIZE(args[0])) {
        PyErr_SetString(PyExc_TypeError, "records() takes a bytearray, what is used of it, and a list");
        return NULL;
    }
    int added = 1;
    for (i = start; added == 1 && i < PyList_GET_SIZE(args[2]); i++) {
        PyObject *accepted = PyList_GET_ITEM(args[2], i);
        if (!is_accepted(accepted))
            return NULL;
        BatchRecord record = {
            .offset = first + i - start,
            .key = bytes_at(accepted, KEY),
            .value = bytes_at(accepted, VALUE),
            .header_name = place,
            .header = bytes_at(accepted, PLACE),
        };
        added = add_record(args[0], &used, &record, limit);
    }
    return added < 0 ? NULL : Py_BuildValue("nn", used, i - start - !added);
}

/* Whether the record of an accepted event has headers; -1 with an exception set. */
static int has_headers(PyObject *accepted)
{
    static PyObject *name;
    if (!is_accepted(accepted) || (name == NULL && (name = PyUnicode_InternFromString("headers")) == NULL))
        return -1;
    PyObject *record = PyTuple_GET_ITEM(accepted, RECORD);
    if (is_record(record))
        return ((Record *)record)->headers.length > 0;
    PyObject *headers = PyObject_GetAttr(record, name);
    Py_ssize_t size = headers == NULL ? -1 : PyObject_Length(headers);
    Py_XDECREF(headers);
    return size > 0 ? 1 : (int)size;
}

PyDoc_STRVAR(with_headers_doc, "with_headers(accepted)\n--\n\nThe accepted events whose record has headers.");

static PyObject *with_headers(PyObject *Py_UNUSED(module), PyObject *accepted)
{
    if (!PyList_CheckExact(accepted)) {
        PyErr_SetString(PyExc_TypeError, "with_headers() takes a list");
        return NULL;
    }
    PyObject *found = PyList_New(0);
    for (Py_ssize_t i = 0; found != NULL && i < PyList_GET_SIZE(accepted); i++) {
        PyObject *event = Py_NewRef(PyList_GET_ITEM(accepted, i));
        int has = has_headers(event);
        if (has < 0 || (has && PyList_Append(found, event) < 0))
            Py_CLEAR(found);
        Py_DECREF(event);
    }
    return found;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc32c_of(const unsigned char *bytes, Py_ssize_t length)
{
    uint64_t crc = 0xffffffff;
    for (; length >= 8; length -= 8, bytes += 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        crc = _mm_crc32_u64(crc, word);
    }
    while (length-- > 0)
        crc = _mm_crc32_u8((uint32_t)crc, *bytes++);
    return (uint32_t)crc ^ 0xffffffff;
}

static int has_crc32c(void)
{
    return __builtin_cpu_supports("sse4.2");
}
#else
static uint32_t crc32c_of(const unsigned char *Py_UNUSED(bytes), Py_ssize_t Py_UNUSED(length))
{
    return 0;
}

static int has_crc32c(void)
{
    return 0;
}
#endif

PyDoc_STRVAR(crc32c_doc, "crc32c(data)\n--\n\nThe CRC-32C of a buffer; None where the processor has no instruction for it.");

static PyObject *crc32c(PyObject *Py_UNUSED(module), PyObject *data)
{
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    PyObject *made = has_crc32c() ? PyLong_FromUnsignedLong(crc32c_of(view.buf, view.len)) : none();
    PyBuffer_Release(&view);
    return made;
}

PyMethodDef record_functions[] = {
    {"records", (PyCFunction)(void (*)(void))records, METH_FASTCALL, records_doc},
    {"with_headers", with_headers, METH_O, with_headers_doc},
    {"crc32c", crc32c, METH_O, crc32c_doc},
    {NULL, NULL, 0, NULL},
};
