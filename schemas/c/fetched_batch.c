/* The records of a batch of message format 2, where they lie in the bytes of a fetch.

   https://kafka.apache.org/documentation/#recordbatch. Nothing is believed of the bytes: a record is given out when all
   lengths in it have been found to stay within it, so that what is made of it later needs no look at them.
   tests/unit/test_source_records.py holds it equal to what aiokafka decodes. */

#include "fetched_record.h"
#include "functions.h"
#include "records.h"

enum { ATTRIBUTES = 21, FIRST_TIMESTAMP = 27, MAX_TIMESTAMP = 35, COUNT = 57, HEADER_LENGTH = 61 }; /* bytes before */
#define APPEND_TIME 0x08

static int64_t big_endian(const char *chars, int bytes)
{
    uint64_t number = chars[0] < 0 ? UINT64_MAX : 0;
    for (int i = 0; i < bytes; i++)
        number = number << 8 | (unsigned char)chars[i];
    return (int64_t)number;
}

/* Whether these are so many headers and nothing else. */
static int are_headers(Reader reader, int64_t count)
{
    Text name, value;
    for (; count > 0; count--)
        if (!read_header(&reader, &name, &value))
            return 0;
    return count == 0 && reader.at == reader.end;
}

/* Whether the next record of a batch was read. */
static int read_record(Reader *reader, const char *batch, Record *record)
{
    Text whole;
    int64_t attributes, delta, offset, headers; /* of the attributes none is used */
    if (!read_sized(reader, &whole) || whole.chars == NULL)
        return 0;
    Reader within = reader_within(&whole);
    if (!read_varint(&within, &attributes) || !read_varint(&within, &delta) || !read_varint(&within, &offset)
        || !read_sized(&within, &record->key) || !read_sized(&within, &record->value)
        || !read_varint(&within, &headers) || !are_headers(within, headers))
        return 0;
    record->headers = (Text){within.at, within.end - within.at};
    record->timestamp_type = (batch[ATTRIBUTES + 1] & APPEND_TIME) != 0;
    if (record->timestamp_type) {
        record->timestamp = big_endian(batch + MAX_TIMESTAMP, 8);
        delta = 0;
    } else
        record->timestamp = big_endian(batch + FIRST_TIMESTAMP, 8);
    return !__builtin_add_overflow(record->timestamp, delta, &record->timestamp)
           && !__builtin_add_overflow(big_endian(batch, 8), offset, &record->offset) && record->offset >= 0;
}

/* Whether the records of a batch from an offset on were added to a list; 0 with an exception set. */
static int read_batch(PyObject *fetched, Reader reader, int64_t offset, PyObject *records)
{
    const char *batch = reader.at;
    int64_t count = big_endian(batch + COUNT, 4), last = offset > 0 ? offset - 1 : -1;
    reader.at += HEADER_LENGTH;
    int is_read = 1;
    for (int64_t i = 0; is_read && i < count; i++) {
        Record *record = PyObject_New(Record, &RecordType);
        if (record == NULL)
            return 0;
        record->fetched = Py_NewRef(fetched);
        is_read = read_record(&reader, batch, record);
        if (is_read && record->offset > last) {
            last = record->offset;
            is_read = PyList_Append(records, (PyObject *)record) == 0;
        }
        Py_DECREF(record);
    }
    if (is_read && reader.at == reader.end)
        return 1;
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_ValueError, "the batch at offset %lld does not hold the records that it should",
                     (long long)big_endian(batch, 8));
    return 0;
}

PyDoc_STRVAR(fetched_doc, "fetched(data, start, end, offset)\n--\n\n"
                          "The records from an offset on of the batch that lies there in the bytes of a fetch. It is"
                          " uncompressed, in message format 2. Raises ValueError where its bytes are damaged.");

static PyObject *fetched(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    if (!takes(count, 4, "fetched() takes the four arguments that it names"))
        return NULL;
    Py_ssize_t start = PyLong_AsSsize_t(args[1]), end = PyLong_AsSsize_t(args[2]);
    long long offset = PyLong_AsLongLong(args[3]);
    if (PyErr_Occurred())
        return NULL;
    if (!PyBytes_CheckExact(args[0]) || start < 0 || start > end || end > PyBytes_GET_SIZE(args[0])) {
        PyErr_SetString(PyExc_TypeError, "fetched() takes bytes and a place in them");
        return NULL;
    }
    if (end - start < HEADER_LENGTH) {
        PyErr_SetString(PyExc_ValueError, "a batch is shorter than its header");
        return NULL;
    }
    Reader reader = {PyBytes_AS_STRING(args[0]) + start, PyBytes_AS_STRING(args[0]) + end};
    PyObject *records = PyList_New(0);
    if (records != NULL && !read_batch(args[0], reader, offset, records))
        Py_CLEAR(records);
    return records;
}

PyMethodDef fetched_functions[] = {
    {"fetched", (PyCFunction)(void (*)(void))fetched, METH_FASTCALL, fetched_doc},
    {NULL, NULL, 0, NULL},
};
