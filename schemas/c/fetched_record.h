/* A record of Kafka in the bytes of a fetch, of which objects are made when somebody asks for them. */

#ifndef TALLY_FETCHED_RECORD_H
#define TALLY_FETCHED_RECORD_H

#include "reading.h"

typedef struct {
    PyObject_HEAD
    PyObject *fetched; /* holds the texts */
    int64_t offset, timestamp;
    int timestamp_type;
    Text key, value; /* without chars where they are null */
    Text headers;    /* as they were sent, without their number */
} Record;

extern PyTypeObject RecordType;

static inline int is_record(PyObject *object)
{
    return Py_TYPE(object) == &RecordType;
}

/* As the attribute. */
PyObject *record_key(const Record *record);

/* The value of the last header of a name; NULL with an exception set. */
PyObject *record_header(const Record *record, PyObject *name);

#endif
