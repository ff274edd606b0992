/* The short way through a usage event, compiled: what schemas/usage_event.py does in Python, for the events that nearly
   all traffic consists of. Whatever is not plain is None, and Python finds out what it is; so nothing is refused here.
   tests/unit/test_plain.py holds both equal. */

#include "event.h"
#include "records.h"
#include "slice.h"

static PyObject *none(void)
{
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* What `make` makes of an object, None where it is not plain. */
static PyObject *make_event(Reader *reader, PyObject *make)
{
    Event event;
    if (!read_event(reader, &event))
        return none();
    PyObject *fields[MEMBERS], *made = NULL;
    int member;
    for (member = 0; member < MEMBERS; member++) {
        if (event.texts[member].chars == NULL)
            fields[member] = Py_NewRef(Py_None);
        else if (member == QUANTITY)
            fields[member] = PyLong_FromLongLong(event.quantity);
        else if (member == OCCURRED_AT)
            fields[member] = PyLong_FromLongLong(event.sent_at);
        else
            fields[member] = ascii(&event.texts[member]);
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

PyDoc_STRVAR(event_doc, "event(body, make)\n--\n\n"
                        "make(serviceId, subscriptionId, userId, eventKey, quantity in millionths, occurredAt in ms,"
                        " invoiceId, eventId) of a plain body, else None.");

static PyObject *event(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    if (!is_body_and_make(args, count, "event() takes bytes and a callable"))
        return NULL;
    Reader reader = reader_of(args[0]);
    PyObject *made = make_event(&reader, args[1]);
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
    if (!read_mark(&reader, '{') || !read_text(&reader, &name) || !is_equal(&name, &usage_events)
        || !read_mark(&reader, ':') || !read_mark(&reader, '['))
        Py_RETURN_NONE;
    PyObject *events = PyList_New(0);
    if (events == NULL)
        return NULL;
    do {
        PyObject *made = make_event(&reader, args[1]);
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

/* The event in eight members as Python has them; 0 where something in it is not plain. */
static int event_of(PyObject *const *args, Event *event)
{
    memset(event, 0, sizeof *event);
    event->quantity = number_of(args[QUANTITY]);
    event->sent_at = args[OCCURRED_AT] == Py_None ? -1 : number_of(args[OCCURRED_AT]);
    if (event->quantity < 0 || (event->sent_at < 0 && args[OCCURRED_AT] != Py_None))
        return 0;
    for (int member = 0; member < MEMBERS; member++) {
        if (member == QUANTITY || member == OCCURRED_AT || (args[member] == Py_None && member > EVENT_KEY))
            continue;
        event->texts[member] = plain(args[member]);
        if (event->texts[member].chars == NULL)
            return 0;
    }
    return 1;
}

static int takes(Py_ssize_t count, int expected, const char *message)
{
    if (count == expected)
        return 1;
    PyErr_SetString(PyExc_TypeError, message);
    return 0;
}

PyDoc_STRVAR(identity_doc,
             "identity(serviceId, subscriptionId, userId, eventKey, quantity, occurredAt, invoiceId, eventId)\n--\n\n"
             "The unique key by subscription and event key, the fingerprint, and the meter; None where something is"
             " not plain.");

static PyObject *identity(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    Event event;
    if (!takes(count, MEMBERS, "identity() takes the eight members of an event"))
        return NULL;
    if (!event_of(args, &event))
        return none();
    Text meter = meter_of(&event), no_third = {NULL, 0};
    unsigned char fingerprint[DIGEST];
    fingerprint_of(&event, fingerprint);
    PyObject *parts[3] = {
        unique_key_of(&event, &no_third),
        PyBytes_FromStringAndSize((const char *)fingerprint, DIGEST),
        ascii(&meter),
    };
    PyObject *made = parts[0] && parts[1] && parts[2] ? PyTuple_Pack(3, parts[0], parts[1], parts[2]) : NULL;
    for (int i = 0; i < 3; i++)
        Py_XDECREF(parts[i]);
    return made;
}

PyDoc_STRVAR(sent_doc,
             "sent(serviceId, subscriptionId, userId, eventKey, quantity, occurredAt, invoiceId, eventId)\n--\n\n"
             "The value on usage-events; None where something in it is not plain.");

static PyObject *sent(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    Event event;
    if (!takes(count, MEMBERS, "sent() takes the eight members of an event"))
        return NULL;
    if (!event_of(args, &event) || (event.sent_at >= 0 && !is_writable_time(event.sent_at)))
        return none();
    Writer writer, *w = &writer;
    w->at = w->chars;
    PUT(w, "{\"serviceId\":");
    put_quoted(w, &event.texts[SERVICE]);
    PUT(w, ",\"subscriptionId\":");
    put_quoted(w, &event.texts[SUBSCRIPTION]);
    PUT(w, ",\"userId\":");
    put_quoted(w, &event.texts[USER]);
    PUT(w, ",\"eventKey\":");
    put_quoted(w, &event.texts[EVENT_KEY]);
    PUT(w, ",\"quantity\":");
    put_quantity(w, event.quantity);
    if (event.sent_at >= 0) {
        PUT(w, ",\"occurredAt\":\"");
        put_time(w, event.sent_at);
        PUT(w, "\"");
    }
    if (event.texts[INVOICE].chars != NULL) {
        PUT(w, ",\"invoiceId\":");
        put_quoted(w, &event.texts[INVOICE]);
    }
    if (event.texts[EVENT].chars != NULL) {
        PUT(w, ",\"eventId\":");
        put_quoted(w, &event.texts[EVENT]);
    }
    PUT(w, "}");
    return written(w);
}

PyDoc_STRVAR(accepted_doc,
             "accepted(serviceId, subscriptionId, userId, eventKey, quantity, occurredAt as sent, invoiceId, eventId,"
             " partition, offset, requestAt, occurredAt, meter, period, fingerprint, catalogVersion, sequence)\n--\n\n"
             "The value on accepted-usage of an event that counts; None where something in it is not plain.");

static PyObject *accepted(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    enum { PARTITION = MEMBERS, OFFSET, REQUESTED, OCCURRED, METER, PERIOD, FINGERPRINT, VERSION, SEQUENCE, ARGUMENTS };
    Event event;
    if (!takes(count, ARGUMENTS, "accepted() takes the seventeen arguments that it names"))
        return NULL;
    if (!PyBytes_CheckExact(args[FINGERPRINT]) || PyBytes_GET_SIZE(args[FINGERPRINT]) != DIGEST)
        return none();
    Counted counted = {
        .partition = number_of(args[PARTITION]),
        .offset = number_of(args[OFFSET]),
        .requested_at = number_of(args[REQUESTED]),
        .occurred_at = number_of(args[OCCURRED]),
        .meter = plain(args[METER]),
        .period = period_of(args[PERIOD]),
        .fingerprint = (const unsigned char *)PyBytes_AS_STRING(args[FINGERPRINT]),
        .version = number_of(args[VERSION]),
        .sequence = args[SEQUENCE] == Py_None ? -1 : number_of(args[SEQUENCE]),
    };
    int is_known = event_of(args, &event) && counted.partition >= 0 && counted.offset >= 0 && counted.version >= 0
                   && is_writable_time(counted.requested_at) && is_writable_time(counted.occurred_at)
                   && counted.meter.chars != NULL && counted.period.chars != NULL
                   && (counted.sequence >= 0 || args[SEQUENCE] == Py_None);
    return is_known ? accepted_json(&event, &counted) : none();
}

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

/* Whether the record of an accepted event has headers; -1 with an exception set. */
static int has_headers(PyObject *accepted)
{
    static PyObject *name;
    if (!is_accepted(accepted) || (name == NULL && (name = PyUnicode_InternFromString("headers")) == NULL))
        return -1;
    PyObject *headers = PyObject_GetAttr(PyTuple_GET_ITEM(accepted, RECORD), name);
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

/* The value of the last header of a name, borrowed; NULL with an exception set. */
static PyObject *header_of(PyObject *headers, PyObject *name)
{
    int is_sequence = PyList_Check(headers) || PyTuple_Check(headers); /* aiokafka has either */
    for (Py_ssize_t i = is_sequence ? PySequence_Fast_GET_SIZE(headers) - 1 : -1; i >= 0; i--) {
        PyObject *header = PySequence_Fast_GET_ITEM(headers, i);
        if (!PyTuple_Check(header) || PyTuple_GET_SIZE(header) != 2)
            continue;
        int is_it = PyObject_RichCompareBool(PyTuple_GET_ITEM(header, 0), name, Py_EQ);
        if (is_it)
            return is_it < 0 ? NULL : PyTuple_GET_ITEM(header, 1);
    }
    PyErr_SetObject(PyExc_KeyError, name);
    return NULL;
}

PyDoc_STRVAR(places_doc, "places(records, name)\n--\n\n"
                         "The key of each record with the value of its header of a name, which it must have; of several"
                         " records with one key, the last.");

static PyObject *places(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    static PyObject *name_key, *name_headers;
    if (!takes(count, 2, "places() takes records and a name"))
        return NULL;
    if ((name_key == NULL && (name_key = PyUnicode_InternFromString("key")) == NULL)
        || (name_headers == NULL && (name_headers = PyUnicode_InternFromString("headers")) == NULL))
        return NULL;
    PyObject *records = PySequence_Fast(args[0], "records must be a sequence"), *found = NULL;
    int failed = records == NULL || (found = PyDict_New()) == NULL;
    for (Py_ssize_t i = 0; !failed && i < PySequence_Fast_GET_SIZE(records); i++) {
        PyObject *record = PySequence_Fast_GET_ITEM(records, i);
        PyObject *key = PyObject_GetAttr(record, name_key);
        PyObject *headers = key == NULL ? NULL : PyObject_GetAttr(record, name_headers);
        PyObject *place = headers == NULL ? NULL : header_of(headers, args[1]);
        failed = place == NULL || PyDict_SetItem(found, key, place) < 0;
        Py_XDECREF(key);
        Py_XDECREF(headers);
    }
    Py_XDECREF(records);
    if (failed)
        Py_CLEAR(found);
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

static PyMethodDef functions[] = {
    {"event", (PyCFunction)(void (*)(void))event, METH_FASTCALL, event_doc},
    {"batch", (PyCFunction)(void (*)(void))batch, METH_FASTCALL, batch_doc},
    {"sent", (PyCFunction)(void (*)(void))sent, METH_FASTCALL, sent_doc},
    {"identity", (PyCFunction)(void (*)(void))identity, METH_FASTCALL, identity_doc},
    {"accepted", (PyCFunction)(void (*)(void))accepted, METH_FASTCALL, accepted_doc},
    {"records", (PyCFunction)(void (*)(void))records, METH_FASTCALL, records_doc},
    {"prefixed", (PyCFunction)(void (*)(void))prefixed, METH_FASTCALL, prefixed_doc},
    {"places", (PyCFunction)(void (*)(void))places, METH_FASTCALL, places_doc},
    {"with_headers", with_headers, METH_O, with_headers_doc},
    {"put_places", (PyCFunction)(void (*)(void))put_places, METH_FASTCALL, put_places_doc},
    {"crc32c", crc32c, METH_O, crc32c_doc},
    {NULL, NULL, 0, NULL},
};

static int add_types(PyObject *module)
{
    return PyModule_AddType(module, &StandingType) < 0 || PyModule_AddType(module, &SliceType) < 0 ? -1 : 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, add_types}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "schemas._plain", .m_size = 0, .m_methods = functions, .m_slots = slots,
};

PyMODINIT_FUNC PyInit__plain(void)
{
    return PyModuleDef_Init(&definition);
}
