/* The short way through a usage event, compiled: what schemas/usage_event.py does in Python, for the events that nearly
   all traffic consists of. Whatever is not plain is None, and Python finds out what it is; so nothing is refused here.
   tests/unit/test_plain.py holds both equal. */

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

static int64_t days_of(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = year / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static void date_of(int64_t days, int64_t *year, int *month, int *day)
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

static int days_in_month(int year, int month)
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

static void skip_blanks(Reader *reader)
{
    while (reader->at < reader->end
           && (*reader->at == ' ' || *reader->at == '\n' || *reader->at == '\r' || *reader->at == '\t'))
        reader->at++;
}

static int read_mark(Reader *reader, char mark)
{
    skip_blanks(reader);
    if (reader->at == reader->end || *reader->at != mark)
        return 0;
    reader->at++;
    return 1;
}

/* A string of printable ASCII without escapes. */
static int read_text(Reader *reader, Text *text)
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

/* What schemas.text.text() would return as it is. */
static int is_trimmed(const Text *text)
{
    return text->length >= 1 && text->length <= TEXT_MAX && text->chars[0] != ' '
           && text->chars[text->length - 1] != ' ';
}

/* So many digits as a number; -1 where one is none. */
static int64_t digits(const char *chars, Py_ssize_t count)
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
static int64_t quantity_of(const Text *text)
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
static int64_t time_of(const Text *text)
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

enum { SERVICE, SUBSCRIPTION, USER, EVENT_KEY, QUANTITY, OCCURRED_AT, INVOICE, EVENT, MEMBERS };
#define REQUIRED ((1 << SERVICE) | (1 << SUBSCRIPTION) | (1 << USER) | (1 << EVENT_KEY) | (1 << QUANTITY))

static const Text NAMES[MEMBERS] = {
    {"serviceId", 9}, {"subscriptionId", 14}, {"userId", 6},    {"eventKey", 8},
    {"quantity", 8},  {"occurredAt", 10},     {"invoiceId", 9}, {"eventId", 7},
};

static int member_of(const Text *name)
{
    for (int member = 0; member < MEMBERS; member++)
        if (NAMES[member].length == name->length
            && memcmp(NAMES[member].chars, name->chars, (size_t)name->length) == 0)
            return member;
    return -1;
}

/* The members of an object that are there, as a set of bits, each once and nothing else; 0 where it is not plain. */
static int read_members(Reader *reader, Text members[MEMBERS])
{
    int found = 0;
    if (!read_mark(reader, '{'))
        return 0;
    do {
        Text name, value;
        if (!read_text(reader, &name) || !read_mark(reader, ':') || !read_text(reader, &value))
            return 0;
        int member = member_of(&name);
        if (member < 0 || found & (1 << member))
            return 0;
        found |= 1 << member;
        members[member] = value;
    } while (read_mark(reader, ','));
    return read_mark(reader, '}') && (found & REQUIRED) == REQUIRED ? found : 0;
}

static int is_at_end(Reader *reader)
{
    skip_blanks(reader);
    return reader->at == reader->end;
}

static PyObject *ascii(const Text *text)
{
    PyObject *made = PyUnicode_New(text->length, 127);
    if (made != NULL)
        memcpy(PyUnicode_1BYTE_DATA(made), text->chars, (size_t)text->length);
    return made;
}

/* What `make` makes of an object, None where it is not plain. */
static PyObject *read_event(Reader *reader, PyObject *make)
{
    Text members[MEMBERS];
    int found = read_members(reader, members);
    if (!found)
        Py_RETURN_NONE;
    for (int member = 0; member < MEMBERS; member++)
        if (found & (1 << member) && member != QUANTITY && member != OCCURRED_AT && !is_trimmed(&members[member]))
            Py_RETURN_NONE;
    int64_t quantity = quantity_of(&members[QUANTITY]);
    int64_t occurred_at = found & (1 << OCCURRED_AT) ? time_of(&members[OCCURRED_AT]) : 0;
    if (quantity < 0 || occurred_at < 0)
        Py_RETURN_NONE;

    PyObject *fields[MEMBERS], *made = NULL;
    int member;
    for (member = 0; member < MEMBERS; member++) {
        if (!(found & (1 << member)))
            fields[member] = Py_NewRef(Py_None);
        else if (member == QUANTITY)
            fields[member] = PyLong_FromLongLong(quantity);
        else if (member == OCCURRED_AT)
            fields[member] = PyLong_FromLongLong(occurred_at);
        else
            fields[member] = ascii(&members[member]);
        if (fields[member] == NULL)
            break;
    }
    if (member == MEMBERS)
        made = PyObject_Vectorcall(make, fields, MEMBERS, NULL);
    while (member-- > 0)
        Py_DECREF(fields[member]);
    return made;
}

static int is_body_and_make(PyObject *const *args, Py_ssize_t count, const char *message)
{
    if (count == 2 && PyBytes_CheckExact(args[0]))
        return 1;
    PyErr_SetString(PyExc_TypeError, message);
    return 0;
}

static Reader reader_of(PyObject *body)
{
    Reader reader = {PyBytes_AS_STRING(body), PyBytes_AS_STRING(body) + PyBytes_GET_SIZE(body)};
    return reader;
}

PyDoc_STRVAR(event_doc, "event(body, make)\n--\n\n"
                        "make(serviceId, subscriptionId, userId, eventKey, quantity in millionths, occurredAt in ms,"
                        " invoiceId, eventId) of a plain body, else None.");

static PyObject *event(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    if (!is_body_and_make(args, count, "event() takes bytes and a callable"))
        return NULL;
    Reader reader = reader_of(args[0]);
    PyObject *made = read_event(&reader, args[1]);
    if (made == NULL || made == Py_None || is_at_end(&reader))
        return made;
    Py_DECREF(made);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(batch_doc, "batch(body, make)\n--\n\n"
                        "As event(), of each event of a body that holds nothing but usageEvents, all of them plain.");

static PyObject *batch(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    static const Text usage_events = {"usageEvents", 11};
    if (!is_body_and_make(args, count, "batch() takes bytes and a callable"))
        return NULL;
    Reader reader = reader_of(args[0]);
    Text name;
    if (!read_mark(&reader, '{') || !read_text(&reader, &name) || name.length != usage_events.length
        || memcmp(name.chars, usage_events.chars, (size_t)name.length) != 0 || !read_mark(&reader, ':')
        || !read_mark(&reader, '['))
        Py_RETURN_NONE;
    PyObject *events = PyList_New(0);
    if (events == NULL)
        return NULL;
    do {
        PyObject *made = read_event(&reader, args[1]);
        if (made == NULL || made == Py_None) {
            Py_DECREF(events);
            return made;
        }
        int failed = PyList_Append(events, made);
        Py_DECREF(made);
        if (failed) {
            Py_DECREF(events);
            return NULL;
        }
    } while (read_mark(&reader, ','));
    if (read_mark(&reader, ']') && read_mark(&reader, '}') && is_at_end(&reader))
        return events;
    Py_DECREF(events);
    Py_RETURN_NONE;
}

/* Writing */

#define ROOM 4096 /* seven texts, a period, six numbers, three times and the names */
#define PERIOD_MAX 128

typedef struct {
    char chars[ROOM];
    char *at;
} Writer;

static void put(Writer *writer, const char *chars, size_t length)
{
    memcpy(writer->at, chars, length);
    writer->at += length;
}

#define PUT(writer, literal) put(writer, literal, sizeof(literal) - 1)

static void put_number(Writer *writer, uint64_t number, int width)
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

static void put_time(Writer *writer, int64_t at_ms)
{
    int64_t year, rest = at_ms % DAY_MS;
    int month, day;
    date_of(at_ms / DAY_MS, &year, &month, &day);
    put_number(writer, (uint64_t)year, 4);
    *writer->at++ = '-';
    put_number(writer, (uint64_t)month, 2);
    *writer->at++ = '-';
    put_number(writer, (uint64_t)day, 2);
    *writer->at++ = 'T';
    put_number(writer, (uint64_t)(rest / 3600000), 2);
    *writer->at++ = ':';
    put_number(writer, (uint64_t)(rest / 60000 % 60), 2);
    *writer->at++ = ':';
    put_number(writer, (uint64_t)(rest / 1000 % 60), 2);
    *writer->at++ = '.';
    put_number(writer, (uint64_t)(rest % 1000), 3);
    *writer->at++ = 'Z';
}

/* The characters of a text that JSON writes as they are; NULL chars where there is another. */
static Text plain(PyObject *value)
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

static int put_quoted(Writer *writer, PyObject *value)
{
    Text text = plain(value);
    if (text.chars == NULL)
        return 0;
    *writer->at++ = '"';
    put(writer, text.chars, (size_t)text.length);
    *writer->at++ = '"';
    return 1;
}

static int put_optional(Writer *writer, PyObject *value)
{
    if (value != Py_None)
        return put_quoted(writer, value);
    PUT(writer, "null");
    return 1;
}

/* A number that is not negative; -1 where it is, or does not fit into 64 bits. */
static int64_t number_of(PyObject *value)
{
    int overflow;
    if (!PyLong_CheckExact(value))
        return -1;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    return overflow || number < 0 ? -1 : number;
}

/* BLAKE2b without a key, of 16 bytes: RFC 7693. */

#define BLOCK 128
#define DIGEST 16

static const uint64_t START[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

static const uint8_t ORDER[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static uint64_t rotated(uint64_t word, int bits)
{
    return (word >> bits) | (word << (64 - bits));
}

static void mix(uint64_t *v, int a, int b, int c, int d, uint64_t x, uint64_t y)
{
    v[a] += v[b] + x;
    v[d] = rotated(v[d] ^ v[a], 32);
    v[c] += v[d];
    v[b] = rotated(v[b] ^ v[c], 24);
    v[a] += v[b] + y;
    v[d] = rotated(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = rotated(v[b] ^ v[c], 63);
}

static uint64_t word_at(const unsigned char *bytes)
{
    uint64_t word = 0;
    for (int i = 7; i >= 0; i--)
        word = word << 8 | bytes[i];
    return word;
}

static void compress(uint64_t state[8], const unsigned char *block, uint64_t length, int is_last)
{
    uint64_t v[16], words[16];
    for (int i = 0; i < 8; i++) {
        v[i] = state[i];
        v[i + 8] = START[i];
    }
    v[12] ^= length;
    if (is_last)
        v[14] = ~v[14];
    for (int i = 0; i < 16; i++)
        words[i] = word_at(block + 8 * i);
    for (int round = 0; round < 12; round++) {
        const uint8_t *o = ORDER[round % 10];
        mix(v, 0, 4, 8, 12, words[o[0]], words[o[1]]);
        mix(v, 1, 5, 9, 13, words[o[2]], words[o[3]]);
        mix(v, 2, 6, 10, 14, words[o[4]], words[o[5]]);
        mix(v, 3, 7, 11, 15, words[o[6]], words[o[7]]);
        mix(v, 0, 5, 10, 15, words[o[8]], words[o[9]]);
        mix(v, 1, 6, 11, 12, words[o[10]], words[o[11]]);
        mix(v, 2, 7, 8, 13, words[o[12]], words[o[13]]);
        mix(v, 3, 4, 9, 14, words[o[14]], words[o[15]]);
    }
    for (int i = 0; i < 8; i++)
        state[i] ^= v[i] ^ v[i + 8];
}

static PyObject *digest(const char *chars, size_t length)
{
    uint64_t state[8], done = 0;
    unsigned char block[BLOCK] = {0};
    memcpy(state, START, sizeof state);
    state[0] ^= 0x01010000 ^ DIGEST;
    for (; length - done > BLOCK; done += BLOCK)
        compress(state, (const unsigned char *)chars + done, done + BLOCK, 0);
    memcpy(block, chars + done, length - done);
    compress(state, block, length, 1);
    PyObject *made = PyBytes_FromStringAndSize(NULL, DIGEST);
    if (made != NULL)
        for (int i = 0; i < DIGEST; i++)
            PyBytes_AS_STRING(made)[i] = (char)(state[i / 8] >> (8 * (i % 8)));
    return made;
}

PyDoc_STRVAR(identity_doc,
             "identity(serviceId, subscriptionId, userId, eventKey, quantity, occurredAt, invoiceId, eventId)\n--\n\n"
             "The unique key by subscription and event key, the fingerprint, and the meter; None where something is"
             " not plain.");

static PyObject *identity(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    if (count != MEMBERS) {
        PyErr_SetString(PyExc_TypeError, "identity() takes the eight members of an event");
        return NULL;
    }
    int64_t quantity = number_of(args[QUANTITY]);
    int64_t occurred_at = args[OCCURRED_AT] == Py_None ? 0 : number_of(args[OCCURRED_AT]);
    Text texts[MEMBERS] = {0};
    for (int member = 0; member < MEMBERS; member++) {
        if (member == QUANTITY || member == OCCURRED_AT || (args[member] == Py_None && member > EVENT_KEY))
            continue;
        texts[member] = plain(args[member]);
        if (texts[member].chars == NULL)
            Py_RETURN_NONE;
    }
    if (quantity < 0 || occurred_at < 0)
        Py_RETURN_NONE;

    Writer key, content;
    key.at = key.chars;
    PUT(&key, "[\"");
    put(&key, texts[SUBSCRIPTION].chars, (size_t)texts[SUBSCRIPTION].length);
    PUT(&key, "\",\"");
    put(&key, texts[EVENT_KEY].chars, (size_t)texts[EVENT_KEY].length);
    PUT(&key, "\"]");

    content.at = content.chars;
    put(&content, texts[SERVICE].chars, (size_t)texts[SERVICE].length);
    PUT(&content, "\n");
    put(&content, texts[USER].chars, (size_t)texts[USER].length);
    PUT(&content, "\n");
    put_number(&content, (uint64_t)quantity, 0);
    PUT(&content, "\n");
    if (texts[INVOICE].length > 0)
        put(&content, texts[INVOICE].chars, (size_t)texts[INVOICE].length);
    PUT(&content, "\n");
    if (texts[EVENT].length > 0)
        put(&content, texts[EVENT].chars, (size_t)texts[EVENT].length);
    PUT(&content, "\n");
    if (args[OCCURRED_AT] != Py_None)
        put_number(&content, (uint64_t)occurred_at, 0);

    Text meter = texts[EVENT_KEY];
    const char *mark = meter.length > 0 ? memchr(meter.chars, '#', (size_t)meter.length) : NULL;
    if (mark != NULL && mark > meter.chars)
        meter.length = mark - meter.chars;

    PyObject *parts[3] = {
        PyBytes_FromStringAndSize(key.chars, key.at - key.chars),
        digest(content.chars, (size_t)(content.at - content.chars)),
        ascii(&meter),
    };
    PyObject *made = parts[0] && parts[1] && parts[2] ? PyTuple_Pack(3, parts[0], parts[1], parts[2]) : NULL;
    for (int i = 0; i < 3; i++)
        Py_XDECREF(parts[i]);
    return made;
}

static void put_quantity(Writer *writer, int64_t quantity)
{
    *writer->at++ = '"';
    put_number(writer, (uint64_t)(quantity / 1000000), 0);
    *writer->at++ = '.';
    put_number(writer, (uint64_t)(quantity % 1000000), PLACES);
    *writer->at++ = '"';
}

PyDoc_STRVAR(sent_doc,
             "sent(serviceId, subscriptionId, userId, eventKey, quantity, occurredAt, invoiceId, eventId)\n--\n\n"
             "The value on usage-events; None where something in it is not plain.");

static PyObject *sent(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    if (count != MEMBERS) {
        PyErr_SetString(PyExc_TypeError, "sent() takes the eight members of an event");
        return NULL;
    }
    int64_t quantity = number_of(args[QUANTITY]);
    int64_t occurred_at = args[OCCURRED_AT] == Py_None ? 0 : number_of(args[OCCURRED_AT]);
    if (quantity < 0 || occurred_at < 0 || occurred_at >= days_of(YEAR_MAX + 1, 1, 1) * DAY_MS)
        Py_RETURN_NONE;
    Writer writer, *w = &writer;
    w->at = w->chars;
    PUT(w, "{\"serviceId\":");
    int is_plain = put_quoted(w, args[SERVICE]);
    PUT(w, ",\"subscriptionId\":");
    is_plain = is_plain && put_quoted(w, args[SUBSCRIPTION]);
    PUT(w, ",\"userId\":");
    is_plain = is_plain && put_quoted(w, args[USER]);
    PUT(w, ",\"eventKey\":");
    is_plain = is_plain && put_quoted(w, args[EVENT_KEY]);
    PUT(w, ",\"quantity\":");
    put_quantity(w, quantity);
    if (args[OCCURRED_AT] != Py_None) {
        PUT(w, ",\"occurredAt\":\"");
        put_time(w, occurred_at);
        PUT(w, "\"");
    }
    if (args[INVOICE] != Py_None) {
        PUT(w, ",\"invoiceId\":");
        is_plain = is_plain && put_quoted(w, args[INVOICE]);
    }
    if (args[EVENT] != Py_None) {
        PUT(w, ",\"eventId\":");
        is_plain = is_plain && put_quoted(w, args[EVENT]);
    }
    if (!is_plain)
        Py_RETURN_NONE;
    PUT(w, "}");
    return PyBytes_FromStringAndSize(w->chars, w->at - w->chars);
}

PyDoc_STRVAR(accepted_doc,
             "accepted(partition, offset, serviceId, subscriptionId, userId, eventKey, eventId, meter, quantity,"
             " occurredAt, invoiceId, period, requestAt, fingerprint, catalogVersion, sequence, wasSent)\n--\n\n"
             "The value on accepted-usage of an event that counts; None where something in it is not plain.");

static PyObject *accepted(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    enum { PARTITION, OFFSET, SERVICE_, SUBSCRIPTION_, USER_, KEY, EVENT_, METER, QUANTITY_, OCCURRED, INVOICE_, PERIOD,
           REQUESTED, FINGERPRINT, VERSION, SEQUENCE, WAS_SENT, ARGUMENTS };
    if (count != ARGUMENTS || !PyBytes_CheckExact(args[FINGERPRINT]) || !PyUnicode_CheckExact(args[PERIOD])) {
        PyErr_SetString(PyExc_TypeError, "accepted() takes the seventeen arguments that it names");
        return NULL;
    }
    int64_t partition = number_of(args[PARTITION]), offset = number_of(args[OFFSET]);
    int64_t quantity = number_of(args[QUANTITY_]), occurred_at = number_of(args[OCCURRED]);
    int64_t requested_at = number_of(args[REQUESTED]), version = number_of(args[VERSION]);
    int64_t sequence = args[SEQUENCE] == Py_None ? 0 : number_of(args[SEQUENCE]);
    const int64_t latest = days_of(YEAR_MAX + 1, 1, 1) * DAY_MS;
    if (partition < 0 || offset < 0 || quantity < 0 || occurred_at < 0 || requested_at < 0 || version < 0
        || sequence < 0 || occurred_at >= latest || requested_at >= latest || !PyUnicode_IS_COMPACT_ASCII(args[PERIOD])
        || PyUnicode_GET_LENGTH(args[PERIOD]) > PERIOD_MAX || PyBytes_GET_SIZE(args[FINGERPRINT]) > 32)
        Py_RETURN_NONE;

    Writer writer, *w = &writer;
    w->at = w->chars;
    PUT(w, "{\"id\":\"ue_");
    put_number(w, (uint64_t)partition, 0);
    PUT(w, "_");
    put_number(w, (uint64_t)offset, 0);
    PUT(w, "\",\"serviceId\":");
    int is_plain = put_quoted(w, args[SERVICE_]);
    PUT(w, ",\"subscriptionId\":");
    is_plain = is_plain && put_quoted(w, args[SUBSCRIPTION_]);
    PUT(w, ",\"userId\":");
    is_plain = is_plain && put_quoted(w, args[USER_]);
    PUT(w, ",\"eventKey\":");
    is_plain = is_plain && put_quoted(w, args[KEY]);
    PUT(w, ",\"eventId\":");
    is_plain = is_plain && put_optional(w, args[EVENT_]);
    PUT(w, ",\"meter\":");
    is_plain = is_plain && put_quoted(w, args[METER]);
    PUT(w, ",\"quantity\":");
    put_quantity(w, quantity);
    PUT(w, ",\"occurredAt\":\"");
    put_time(w, occurred_at);
    PUT(w, "\",\"invoiceId\":");
    is_plain = is_plain && put_optional(w, args[INVOICE_]);
    if (!is_plain)
        Py_RETURN_NONE;
    PUT(w, ",\"billingPeriod\":");
    put(w, (const char *)PyUnicode_1BYTE_DATA(args[PERIOD]), (size_t)PyUnicode_GET_LENGTH(args[PERIOD]));
    PUT(w, ",\"status\":\"RECORDED\",\"createdAt\":\"");
    put_time(w, requested_at);
    PUT(w, "\",\"updatedAt\":\"");
    put_time(w, requested_at);
    PUT(w, "\",\"partition\":");
    put_number(w, (uint64_t)partition, 0);
    PUT(w, ",\"offset\":");
    put_number(w, (uint64_t)offset, 0);
    PUT(w, ",\"fingerprint\":\"");
    for (Py_ssize_t i = 0; i < PyBytes_GET_SIZE(args[FINGERPRINT]); i++) {
        unsigned char byte = (unsigned char)PyBytes_AS_STRING(args[FINGERPRINT])[i];
        *w->at++ = "0123456789abcdef"[byte >> 4];
        *w->at++ = "0123456789abcdef"[byte & 15];
    }
    PUT(w, "\",\"catalogVersion\":");
    put_number(w, (uint64_t)version, 0);
    PUT(w, ",\"sequence\":");
    if (args[SEQUENCE] == Py_None)
        PUT(w, "null");
    else
        put_number(w, (uint64_t)sequence, 0);
    PUT(w, ",\"sentOccurredAt\":");
    if (args[WAS_SENT] == Py_True) {
        PUT(w, "\"");
        put_time(w, occurred_at);
        PUT(w, "\"}");
    } else
        PUT(w, "null}");
    return PyBytes_FromStringAndSize(w->chars, w->at - w->chars);
}

static PyMethodDef functions[] = {
    {"event", (PyCFunction)(void (*)(void))event, METH_FASTCALL, event_doc},
    {"batch", (PyCFunction)(void (*)(void))batch, METH_FASTCALL, batch_doc},
    {"sent", (PyCFunction)(void (*)(void))sent, METH_FASTCALL, sent_doc},
    {"identity", (PyCFunction)(void (*)(void))identity, METH_FASTCALL, identity_doc},
    {"accepted", (PyCFunction)(void (*)(void))accepted, METH_FASTCALL, accepted_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "schemas._plain", .m_size = 0, .m_methods = functions, .m_slots = slots,
};

PyMODINIT_FUNC PyInit__plain(void)
{
    return PyModuleDef_Init(&definition);
}
