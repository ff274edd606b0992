/* An event alone: read from a body, identified, written as what is sent and as what is accepted. */

#include "event.h"
#include "functions.h"

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

PyMethodDef event_functions[] = {
    {"event", (PyCFunction)(void (*)(void))event, METH_FASTCALL, event_doc},
    {"batch", (PyCFunction)(void (*)(void))batch, METH_FASTCALL, batch_doc},
    {"sent", (PyCFunction)(void (*)(void))sent, METH_FASTCALL, sent_doc},
    {"identity", (PyCFunction)(void (*)(void))identity, METH_FASTCALL, identity_doc},
    {"accepted", (PyCFunction)(void (*)(void))accepted, METH_FASTCALL, accepted_doc},
    {NULL, NULL, 0, NULL},
};
