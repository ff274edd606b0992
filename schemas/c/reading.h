/* Texts, numbers and times as bytes hold them: reading. */

#ifndef TALLY_READING_H
#define TALLY_READING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define TEXT_MAX 255 /* schemas.text.LENGTH_MAX */
#define WHOLE_DIGITS_MAX 12 /* of the 14 that are allowed: with 6 more they fit into 64 bits */
#define PLACES 6
#define YEAR_MIN 2000
#define YEAR_MAX 2100
#define DAY_MS 86400000LL

/* Calendar: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil and civil_from_days. */

static inline int64_t days_of(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = year / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static inline void date_of(int64_t days, int64_t *year, int *month, int *day)
{
    days += 719468;
    int64_t era = days / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153;
    *day = (int)(day_of_year - (153 * shifted + 2) / 5 + 1);
    *month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

static inline int days_in_month(int year, int month)
{
    if (month == 2)
        return 28 + ((year % 4 == 0 && year % 100 != 0) || year % 400 == 0);
    return 30 + ((month + (month > 7)) & 1);
}

/* Reading */

typedef struct {
    const char *at;
    const char *end;
} Reader;

typedef struct {
    const char *chars;
    Py_ssize_t length;
} Text;

static inline void skip_blanks(Reader *reader)
{
    while (reader->at < reader->end
           && (*reader->at == ' ' || *reader->at == '\n' || *reader->at == '\r' || *reader->at == '\t'))
        reader->at++;
}

static inline int read_mark(Reader *reader, char mark)
{
    skip_blanks(reader);
    if (reader->at == reader->end || *reader->at != mark)
        return 0;
    reader->at++;
    return 1;
}

/* A string of printable ASCII without escapes. */
static inline int read_text(Reader *reader, Text *text)
{
    if (!read_mark(reader, '"'))
        return 0;
    text->chars = reader->at;
    for (; reader->at < reader->end; reader->at++) {
        unsigned char c = (unsigned char)*reader->at;
        if (c == '"') {
            text->length = reader->at++ - text->chars;
            return 1;
        }
        if (c < 0x20 || c >= 0x7f || c == '\\')
            return 0;
    }
    return 0;
}

/* Whether it is what schemas.text.text() would return as it is. */
static inline int is_trimmed(const Text *text)
{
    return text->length >= 1 && text->length <= TEXT_MAX && text->chars[0] != ' '
           && text->chars[text->length - 1] != ' ';
}

/* So many digits as a number; -1 where one is none. */
static inline int64_t digits(const char *chars, Py_ssize_t count)
{
    int64_t number = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (chars[i] < '0' || chars[i] > '9')
            return -1;
        number = number * 10 + (chars[i] - '0');
    }
    return number;
}

/* A quantity in millionths; -1 where it is not plain. */
static inline int64_t quantity_of(const Text *text)
{
    const char *point = memchr(text->chars, '.', (size_t)text->length);
    Py_ssize_t whole = point == NULL ? text->length : point - text->chars;
    Py_ssize_t places = point == NULL ? 0 : text->length - whole - 1;
    if (whole < 1 || whole > WHOLE_DIGITS_MAX || (whole > 1 && text->chars[0] == '0'))
        return -1;
    if (point != NULL && (places < 1 || places > PLACES))
        return -1;
    int64_t units = digits(text->chars, whole);
    int64_t fraction = point == NULL ? 0 : digits(point + 1, places);
    if (units < 0 || fraction < 0)
        return -1;
    for (Py_ssize_t i = 0; i < PLACES; i++)
        units *= 10;
    for (Py_ssize_t i = places; i < PLACES; i++)
        fraction *= 10;
    return units + fraction;
}

/* Milliseconds since 1970 of YYYY-MM-DDThh:mm:ss[.mmm]Z; -1 where it is not plain. */
static inline int64_t time_of(const Text *text)
{
    const char *c = text->chars;
    Py_ssize_t length = text->length;
    if (!(length == 20 || (length == 24 && c[19] == '.')) || c[length - 1] != 'Z' || c[4] != '-' || c[7] != '-'
        || c[10] != 'T' || c[13] != ':' || c[16] != ':')
        return -1;
    int year = (int)digits(c, 4), month = (int)digits(c + 5, 2), day = (int)digits(c + 8, 2);
    int hour = (int)digits(c + 11, 2), minute = (int)digits(c + 14, 2), second = (int)digits(c + 17, 2);
    int fraction = length == 24 ? (int)digits(c + 20, 3) : 0;
    if (year < YEAR_MIN || year > YEAR_MAX || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month)
        || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 || fraction < 0)
        return -1;
    return days_of(year, month, day) * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000LL + fraction;
}

static inline int is_equal(const Text *one, const Text *other)
{
    return one->length == other->length && memcmp(one->chars, other->chars, (size_t)one->length) == 0;
}

static inline int is_at_end(Reader *reader)
{
    skip_blanks(reader);
    return reader->at == reader->end;
}

static inline PyObject *ascii(const Text *text)
{
    PyObject *made = PyUnicode_New(text->length, 127);
    if (made != NULL)
        memcpy(PyUnicode_1BYTE_DATA(made), text->chars, (size_t)text->length);
    return made;
}

static inline Reader reader_of(PyObject *body)
{
    Reader reader = {PyBytes_AS_STRING(body), PyBytes_AS_STRING(body) + PyBytes_GET_SIZE(body)};
    return reader;
}

static inline Reader reader_within(const Text *text)
{
    Reader reader = {text->chars, text->chars + text->length};
    return reader;
}

#endif
