/* Records as Kafka has them in a batch, without its header: message format 2.

   https://kafka.apache.org/documentation/#record: length, attributes, timestampDelta, offsetDelta, key, value, headers;
   all numbers but the attributes are zigzag varints. */

#ifndef TALLY_RECORDS_H
#define TALLY_RECORDS_H

#include "reading.h"

#define VARINT_MAX 10

static inline char *put_varint(char *at, int64_t number)
{
    uint64_t rest = ((uint64_t)number << 1) ^ (uint64_t)(number >> 63);
    while (rest > 0x7f) {
        *at++ = (char)(rest | 0x80);
        rest >>= 7;
    }
    *at++ = (char)rest;
    return at;
}

static inline Py_ssize_t varint_size(int64_t number)
{
    char spare[VARINT_MAX];
    return put_varint(spare, number) - spare;
}

static inline Py_ssize_t sized(Py_ssize_t length)
{
    return varint_size(length) + length;
}

static inline char *put_sized(char *at, const char *chars, Py_ssize_t length)
{
    at = put_varint(at, length);
    memcpy(at, chars, (size_t)length);
    return at + length;
}

/* A record with one header, at the batch's first timestamp. */
typedef struct {
    int64_t offset; /* from the batch's first */
    Text key, value, header_name, header;
} BatchRecord;

static inline Py_ssize_t record_length(const BatchRecord *record)
{
    return 1 + varint_size(0) + varint_size(record->offset) + sized(record->key.length) + sized(record->value.length)
           + varint_size(1) + sized(record->header_name.length) + sized(record->header.length);
}

static inline char *put_record(char *at, const BatchRecord *record)
{
    at = put_varint(at, record_length(record));
    *at++ = 0;
    at = put_varint(at, 0);
    at = put_varint(at, record->offset);
    at = put_sized(at, record->key.chars, record->key.length);
    at = put_sized(at, record->value.chars, record->value.length);
    at = put_varint(at, 1);
    at = put_sized(at, record->header_name.chars, record->header_name.length);
    return put_sized(at, record->header.chars, record->header.length);
}

/* Whether there is a number before the end. */
static inline int read_varint(Reader *reader, int64_t *number)
{
    uint64_t read = 0;
    for (int shift = 0; shift < 7 * VARINT_MAX && reader->at < reader->end; shift += 7) {
        unsigned char byte = (unsigned char)*reader->at++;
        read |= (uint64_t)(byte & 0x7f) << shift;
        if (byte <= 0x7f) {
            *number = (int64_t)(read >> 1 ^ -(read & 1));
            return 1;
        }
    }
    return 0;
}

/* Bytes behind their length; without chars where it is negative, for null. */
static inline int read_sized(Reader *reader, Text *text)
{
    int64_t length;
    if (!read_varint(reader, &length) || length > reader->end - reader->at)
        return 0;
    text->chars = length < 0 ? NULL : reader->at;
    text->length = length < 0 ? 0 : (Py_ssize_t)length;
    reader->at += text->length;
    return 1;
}

/* Whether there is another header: its name, and its value. */
static inline int read_header(Reader *reader, Text *name, Text *value)
{
    return read_sized(reader, name) && name->chars != NULL && read_sized(reader, value);
}

#endif
