/* The same: writing. */

#ifndef TALLY_WRITING_H
#define TALLY_WRITING_H

#include "reading.h"

#define ROOM 4096 /* seven texts, a period, six numbers, three times and the names */
#define PERIOD_MAX 128
#define TIME_LENGTH 24

typedef struct {
    char chars[ROOM];
    char *at;
} Writer;

static inline void put(Writer *writer, const char *chars, size_t length)
{
    memcpy(writer->at, chars, length);
    writer->at += length;
}

#define PUT(writer, literal) put(writer, literal, sizeof(literal) - 1)

static inline void put_number(Writer *writer, uint64_t number, int width)
{
    char reversed[20];
    int count = 0;
    do {
        reversed[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    for (; width > count; width--)
        *writer->at++ = '0';
    while (count > 0)
        *writer->at++ = reversed[--count];
}

static inline void put_pair(Writer *writer, int64_t number)
{
    *writer->at++ = (char)('0' + number / 10);
    *writer->at++ = (char)('0' + number % 10);
}

static inline void put_time(Writer *writer, int64_t at_ms)
{
    int64_t year, rest = at_ms % DAY_MS;
    int month, day;
    date_of(at_ms / DAY_MS, &year, &month, &day);
    put_pair(writer, year / 100);
    put_pair(writer, year % 100);
    *writer->at++ = '-';
    put_pair(writer, month);
    *writer->at++ = '-';
    put_pair(writer, day);
    *writer->at++ = 'T';
    put_pair(writer, rest / 3600000);
    *writer->at++ = ':';
    put_pair(writer, rest / 60000 % 60);
    *writer->at++ = ':';
    put_pair(writer, rest / 1000 % 60);
    *writer->at++ = '.';
    *writer->at++ = (char)('0' + rest % 1000 / 100);
    put_pair(writer, rest % 100);
    *writer->at++ = 'Z';
}

/* The characters of a text that JSON writes as they are; NULL chars where there is another. */
static inline Text plain(PyObject *value)
{
    Text text = {NULL, 0};
    if (!PyUnicode_CheckExact(value) || !PyUnicode_IS_COMPACT_ASCII(value) || PyUnicode_GET_LENGTH(value) > TEXT_MAX)
        return text;
    const char *chars = (const char *)PyUnicode_1BYTE_DATA(value);
    Py_ssize_t length = PyUnicode_GET_LENGTH(value);
    for (Py_ssize_t i = 0; i < length; i++)
        if (chars[i] < 0x20 || chars[i] == '"' || chars[i] == '\\')
            return text;
    text.chars = chars;
    text.length = length;
    return text;
}

/* A billing period as JSON; NULL chars where it is none. */
static inline Text period_of(PyObject *value)
{
    Text text = {NULL, 0};
    if (PyUnicode_CheckExact(value) && PyUnicode_IS_COMPACT_ASCII(value) && PyUnicode_GET_LENGTH(value) <= PERIOD_MAX) {
        text.chars = (const char *)PyUnicode_1BYTE_DATA(value);
        text.length = PyUnicode_GET_LENGTH(value);
    }
    return text;
}

static inline void put_text(Writer *writer, const Text *text)
{
    if (text->length > 0)
        put(writer, text->chars, (size_t)text->length);
}

static inline void put_quoted(Writer *writer, const Text *text)
{
    *writer->at++ = '"';
    put_text(writer, text);
    *writer->at++ = '"';
}

static inline void put_optional(Writer *writer, const Text *text)
{
    if (text->chars != NULL)
        put_quoted(writer, text);
    else
        PUT(writer, "null");
}

static inline PyObject *written(const Writer *writer)
{
    return PyBytes_FromStringAndSize(writer->chars, writer->at - writer->chars);
}

/* A number that is not negative; -1 where it is, or does not fit into 64 bits. */
static inline int64_t number_of(PyObject *value)
{
    int overflow;
    if (!PyLong_CheckExact(value))
        return -1;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    return overflow || number < 0 ? -1 : number;
}

static inline void put_quantity(Writer *writer, int64_t quantity)
{
    *writer->at++ = '"';
    put_number(writer, (uint64_t)(quantity / 1000000), 0);
    *writer->at++ = '.';
    put_number(writer, (uint64_t)(quantity % 1000000), PLACES);
    *writer->at++ = '"';
}

#endif
