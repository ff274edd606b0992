/* Many plain events at once, counted under terms that the rules have set.

   A Standing holds the terms of one subscription and period: whose events count, of which times, as what they are
   written. A Slice reads records and finds the standing of each; count() then takes the events one after the other for as
   long as each is within its terms and its key is new. What is not certain by that is not counted here: Python decides
   it by the rules, and count() goes on behind it. tests/unit/test_deciding_compiled.py holds both ways equal. */

#include "slice.h"

#include <structmember.h>

#include "event.h"

#define BODY_BYTES_MAX (64 * 1024) /* schemas.document.BODY_BYTES_MAX */

/* What a meter has gathered since it was last taken. */
typedef struct {
    PyObject *meter;
    Text name; /* its characters */
    int64_t quantity;
    int64_t events;
} Sum;

typedef struct Standing {
    PyObject_HEAD
    PyObject *of;            /* whatever Python knows it by */
    PyObject *service, *user, *period, *scope;
    Text service_text, user_text, period_text; /* their characters; none where they are not plain */
    Text third; /* part of every unique key; without chars where there is none */
    int is_by_event; /* whether that is the event's own id */
    struct Standing *next;   /* of another period of the same subscription */
    int64_t start, end;      /* of the period, in ms; one without an end holds all time */
    int64_t ahead_ms, age_ms; /* how much later or earlier than its request an event may have occurred */
    int64_t version, sequence;
    PyObject *places;        /* of each meter, in sums */
    Sum *sums;
    Py_ssize_t meters, room;
    int64_t events, first_at, last_at, first_offset, last_offset;
} Standing;

static void forget_sums(Standing *self)
{
    for (Py_ssize_t i = 0; i < self->meters; i++)
        Py_DECREF(self->sums[i].meter);
    self->meters = 0;
    self->events = 0;
    if (self->places != NULL)
        PyDict_Clear(self->places);
}

/* One after the other: a chain may be as long as a batch, and each within the other would take as much of the stack. */
static void forget_chain(Standing *next)
{
    while (next != NULL && Py_REFCNT(next) == 1) {
        Standing *after = next->next;
        next->next = NULL;
        Py_DECREF(next);
        next = after;
    }
    Py_XDECREF(next);
}

static void standing_dealloc(Standing *self)
{
    forget_sums(self);
    PyMem_Free(self->sums);
    Py_XDECREF(self->of);
    Py_XDECREF(self->service);
    Py_XDECREF(self->user);
    Py_XDECREF(self->period);
    Py_XDECREF(self->scope);
    forget_chain(self->next);
    Py_XDECREF(self->places);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *standing_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"of", "service_id", "user_id", "period", "start", "end", "ahead_ms", "age_ms", "version",
                            "sequence", "scope", "next", NULL};
    PyObject *of, *service, *user, *period, *end, *age_ms, *scope, *next;
    long long start, ahead_ms, version, sequence;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OUUULOLOLLOO", names, &of, &service, &user, &period, &start, &end,
                                     &ahead_ms, &age_ms, &version, &sequence, &scope, &next))
        return NULL;
    if (next != Py_None && Py_TYPE(next) != &StandingType) {
        PyErr_SetString(PyExc_TypeError, "next must be a Standing or None");
        return NULL;
    }
    Standing *self = (Standing *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->of = Py_NewRef(of);
    self->service = Py_NewRef(service);
    self->user = Py_NewRef(user);
    self->period = Py_NewRef(period);
    self->scope = Py_NewRef(scope);
    self->is_by_event = scope == Py_True;
    self->third = plain(scope);
    self->next = next == Py_None ? NULL : (Standing *)Py_NewRef(next);
    self->start = end == Py_None ? INT64_MIN : start;
    self->end = end == Py_None ? INT64_MAX : PyLong_AsLongLong(end);
    self->ahead_ms = ahead_ms;
    self->age_ms = age_ms == Py_None ? INT64_MAX : PyLong_AsLongLong(age_ms);
    self->version = version;
    self->sequence = sequence;
    self->service_text = plain(service);
    self->user_text = plain(user);
    self->period_text = period_of(period);
    self->places = PyDict_New();
    if (self->places == NULL || PyErr_Occurred()) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* Whether the terms can be met by comparing and writing bytes. */
static int is_plain_standing(const Standing *self)
{
    return self->service_text.chars != NULL && self->user_text.chars != NULL && self->period_text.chars != NULL
           && self->version >= 0 && self->sequence >= 0
           && (self->third.chars != NULL || self->is_by_event || self->scope == Py_None);
}

/* The place of a meter in the sums; -1 where that fails. */
static Py_ssize_t place_of(Standing *self, const Text *meter)
{
    for (Py_ssize_t i = 0; i < self->meters && i < 4; i++) /* nearly always one of a few */
        if (is_equal(&self->sums[i].name, meter))
            return i;
    PyObject *name = ascii(meter);
    if (name == NULL)
        return -1;
    PyObject *found = PyDict_GetItemWithError(self->places, name);
    if (found != NULL || PyErr_Occurred()) {
        Py_DECREF(name);
        return found == NULL ? -1 : PyLong_AsSsize_t(found);
    }
    if (self->meters == self->room) {
        Py_ssize_t room = self->room ? 2 * self->room : 4;
        Sum *sums = PyMem_Realloc(self->sums, (size_t)room * sizeof(Sum));
        if (sums == NULL) {
            Py_DECREF(name);
            PyErr_NoMemory();
            return -1;
        }
        self->sums = sums;
        self->room = room;
    }
    PyObject *number = PyLong_FromSsize_t(self->meters);
    if (number == NULL || PyDict_SetItem(self->places, name, number) < 0) {
        Py_XDECREF(number);
        Py_DECREF(name);
        return -1;
    }
    Py_DECREF(number);
    self->sums[self->meters] = (Sum){name, plain(name), 0, 0};
    return self->meters++;
}

PyDoc_STRVAR(take_doc, "take()\n--\n\n"
                       "What was counted since the last time: times of the first event and of the latest (ms), offsets of"
                       " the first and the last, and of each meter its name, quantity (millionths) and events.");

static PyObject *standing_take(Standing *self, PyObject *Py_UNUSED(none))
{
    PyObject *sums = PyList_New(self->meters);
    if (sums == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < self->meters; i++) {
        const Sum *sum = &self->sums[i];
        PyObject *item = Py_BuildValue("OLL", sum->meter, (long long)sum->quantity, (long long)sum->events);
        if (item == NULL) {
            Py_DECREF(sums);
            return NULL;
        }
        PyList_SET_ITEM(sums, i, item);
    }
    PyObject *taken = Py_BuildValue("LLLLN", (long long)self->first_at, (long long)self->last_at,
                                    (long long)self->first_offset, (long long)self->last_offset, sums);
    if (taken != NULL)
        forget_sums(self);
    return taken;
}

static PyMethodDef standing_methods[] = {
    {"take", (PyCFunction)standing_take, METH_NOARGS, take_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef standing_members[] = {
    {"of", T_OBJECT_EX, offsetof(Standing, of), READONLY, "what it was made for"},
    {"events", T_LONGLONG, offsetof(Standing, events), READONLY, "events counted since the last take()"},
    {NULL, 0, 0, 0, NULL},
};

PyTypeObject StandingType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "schemas._plain.Standing",
    .tp_doc = "Standing(of, service_id, user_id, period, start, end, ahead_ms, age_ms, version, sequence, scope, next)\n--\n\n"
              "The terms on which events of one subscription and period count, and what has been counted.",
    .tp_basicsize = sizeof(Standing),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = standing_new,
    .tp_dealloc = (destructor)standing_dealloc,
    .tp_methods = standing_methods,
    .tp_members = standing_members,
};

/* A record of the slice. */
typedef struct {
    PyObject *record;
    PyObject *value;   /* holds the texts of the event */
    PyObject *key;
    Standing *standing; /* NULL where the event is not plain, or has none */
    Event event;
    int64_t offset, requested_at, occurred_at;
    unsigned char fingerprint[DIGEST];
} Slot;

typedef struct {
    PyObject_HEAD
    Py_ssize_t size;
    Slot *slots;
    int64_t partition;
    PyObject *keys, *others, *touched;
} Slice;

static PyObject *name_value, *name_offset, *name_timestamp;

static int intern_names(void)
{
    if (name_value == NULL) {
        name_value = PyUnicode_InternFromString("value");
        name_offset = PyUnicode_InternFromString("offset");
        name_timestamp = PyUnicode_InternFromString("timestamp");
    }
    return name_value && name_offset && name_timestamp ? 0 : -1;
}

static void slice_dealloc(Slice *self)
{
    for (Py_ssize_t i = 0; i < self->size; i++) {
        Slot *slot = &self->slots[i];
        Py_XDECREF(slot->record);
        Py_XDECREF(slot->value);
        Py_XDECREF(slot->key);
        Py_XDECREF(slot->standing);
    }
    PyMem_Free(self->slots);
    Py_XDECREF(self->keys);
    Py_XDECREF(self->others);
    Py_XDECREF(self->touched);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* A number of the record; -1 where it is not plain, or with an exception set. */
static int64_t number_at(PyObject *record, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(record, name);
    if (value == NULL)
        return -1;
    int64_t number = number_of(value);
    Py_DECREF(value);
    return number;
}

/* The standing of the slot's event, a new reference; NULL where there is none, or with an exception set. */
static Standing *standing_of(const Slot *slot, PyObject *standings, PyObject *find)
{
    PyObject *subscription = ascii(&slot->event.texts[SUBSCRIPTION]);
    if (subscription == NULL)
        return NULL;
    PyObject *found = PyDict_GetItemWithError(standings, subscription);
    if (found == Py_None || (found == NULL && PyErr_Occurred())) {
        Py_DECREF(subscription);
        return NULL;
    }
    Standing *standing = found != NULL && Py_TYPE(found) == &StandingType ? (Standing *)found : NULL;
    while (standing != NULL && (slot->occurred_at < standing->start || slot->occurred_at >= standing->end))
        standing = standing->next;
    if (standing != NULL) {
        Py_DECREF(subscription);
        return (Standing *)Py_NewRef(standing);
    }
    PyObject *made = PyObject_CallFunction(find, "OL", subscription, (long long)slot->occurred_at);
    Py_DECREF(subscription);
    if (made != NULL && Py_TYPE(made) == &StandingType)
        return (Standing *)made;
    Py_XDECREF(made);
    return NULL;
}

static const Text *third_of(const Standing *standing, const Event *event)
{
    return standing->is_by_event ? &event->texts[EVENT] : &standing->third;
}

/* Whether the slot's record is a plain event of a standing; -1 with an exception set. */
static int read_slot(Slot *slot, PyObject *standings, PyObject *find)
{
    slot->value = PyObject_GetAttr(slot->record, name_value);
    if (slot->value == NULL)
        return -1;
    if (!PyBytes_CheckExact(slot->value) || PyBytes_GET_SIZE(slot->value) > BODY_BYTES_MAX)
        return 0;
    Reader reader = reader_of(slot->value);
    if (!read_event(&reader, &slot->event) || !is_at_end(&reader) || slot->event.texts[INVOICE].chars != NULL)
        return 0;
    slot->offset = number_at(slot->record, name_offset);
    slot->requested_at = number_at(slot->record, name_timestamp);
    if (slot->offset < 0 || !is_writable_time(slot->requested_at))
        return PyErr_Occurred() ? -1 : 0;
    slot->occurred_at = slot->event.sent_at >= 0 ? slot->event.sent_at : slot->requested_at;
    Standing *standing = standing_of(slot, standings, find);
    if (standing == NULL)
        return PyErr_Occurred() ? -1 : 0;
    if (!is_plain_standing(standing) || !is_equal(&standing->service_text, &slot->event.texts[SERVICE])
        || !is_equal(&standing->user_text, &slot->event.texts[USER])
        || (standing->is_by_event && slot->event.texts[EVENT].chars == NULL)) {
        Py_DECREF(standing);
        return 0;
    }
    slot->standing = standing;
    slot->key = unique_key_of(&slot->event, third_of(standing, &slot->event));
    if (slot->key == NULL)
        return -1;
    fingerprint_of(&slot->event, slot->fingerprint);
    return 1;
}

static int read_slots(Slice *self, PyObject *records, PyObject *standings, PyObject *find)
{
    for (Py_ssize_t i = 0; i < self->size; i++) {
        Slot *slot = &self->slots[i];
        slot->record = Py_NewRef(PySequence_Fast_GET_ITEM(records, i));
        int is_plain = read_slot(slot, standings, find);
        if (is_plain < 0)
            return -1;
        if (is_plain) {
            PyList_SET_ITEM(self->keys, i, Py_NewRef(slot->key));
            continue;
        }
        PyObject *no_key = PyBytes_FromStringAndSize(NULL, 0);
        if (no_key == NULL)
            return -1;
        PyList_SET_ITEM(self->keys, i, no_key);
        PyObject *index = PyLong_FromSsize_t(i);
        int failed = index == NULL || PyList_Append(self->others, index) < 0;
        Py_XDECREF(index);
        if (failed)
            return -1;
    }
    return 0;
}

static PyObject *slice_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"records", "partition", "standings", "touched", "find", NULL};
    PyObject *given, *standings, *touched, *find;
    long long partition;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OLO!O!O", names, &given, &partition, &PyDict_Type, &standings,
                                     &PyList_Type, &touched, &find)
        || intern_names() < 0)
        return NULL;
    PyObject *records = PySequence_Fast(given, "records must be a sequence");
    if (records == NULL)
        return NULL;
    Slice *self = (Slice *)type->tp_alloc(type, 0);
    if (self != NULL) {
        Py_ssize_t size = PySequence_Fast_GET_SIZE(records);
        self->partition = partition;
        self->keys = PyList_New(size);
        self->others = PyList_New(0);
        self->touched = Py_NewRef(touched);
        self->slots = PyMem_Calloc((size_t)size + 1, sizeof(Slot));
        self->size = self->slots == NULL ? 0 : size;
        if (self->slots == NULL)
            PyErr_NoMemory();
        if (!self->keys || !self->others || !self->slots
            || read_slots(self, records, standings, find) < 0) {
            Py_DECREF(self);
            self = NULL;
        }
    }
    Py_DECREF(records);
    return (PyObject *)self;
}

/* Whether the times of the event are within the terms: the rules' comparisons, with the rules' numbers. */
static int is_in_time(const Slot *slot)
{
    const Standing *standing = slot->standing;
    return slot->occurred_at - slot->requested_at <= standing->ahead_ms
           && slot->requested_at - slot->occurred_at <= standing->age_ms;
}

/* A packed Place, as aggregator.rules.uniqueness.packed_place() makes it. */
static PyObject *packed_place(int64_t partition, const Slot *slot)
{
    PyObject *made = PyBytes_FromStringAndSize(NULL, 12 + DIGEST);
    if (made == NULL)
        return NULL;
    unsigned char *bytes = (unsigned char *)PyBytes_AS_STRING(made);
    for (int i = 0; i < 4; i++)
        bytes[i] = (unsigned char)(partition >> (24 - 8 * i));
    for (int i = 0; i < 8; i++)
        bytes[4 + i] = (unsigned char)(slot->offset >> (56 - 8 * i));
    memcpy(bytes + 12, slot->fingerprint, DIGEST);
    return made;
}

/* Whether the event was added to what its standing has gathered; 0 where its sum would be too large, -1 on failure. */
static int gather(Slice *self, const Slot *slot, const Text *meter)
{
    Standing *standing = slot->standing;
    Py_ssize_t place = place_of(standing, meter);
    if (place < 0)
        return -1;
    Sum *sum = &standing->sums[place];
    int64_t quantity;
    if (__builtin_add_overflow(sum->quantity, slot->event.quantity, &quantity))
        return 0;
    sum->quantity = quantity;
    sum->events++;
    if (standing->events++ == 0) {
        standing->first_at = standing->last_at = slot->requested_at;
        standing->first_offset = slot->offset;
        if (PyList_Append(self->touched, (PyObject *)standing) < 0)
            return -1;
    }
    if (slot->requested_at > standing->last_at)
        standing->last_at = slot->requested_at;
    standing->last_offset = slot->offset;
    return 1;
}

/* Whether the slot's event was counted; -1 with an exception set. */
static int count_slot(Slice *self, Slot *slot, PyObject *taken, PyObject *accepted, PyTypeObject *type)
{
    if (slot->standing == NULL || !is_in_time(slot))
        return 0;
    int is_taken = PyDict_Contains(taken, slot->key);
    if (is_taken)
        return is_taken < 0 ? -1 : 0;
    Text meter = meter_of(&slot->event);
    int is_gathered = gather(self, slot, &meter);
    if (is_gathered <= 0)
        return is_gathered;
    Counted counted = {
        .partition = self->partition,
        .offset = slot->offset,
        .requested_at = slot->requested_at,
        .occurred_at = slot->occurred_at,
        .meter = meter,
        .period = slot->standing->period_text,
        .fingerprint = slot->fingerprint,
        .version = slot->standing->version,
        .sequence = slot->standing->sequence,
    };
    PyObject *place = packed_place(self->partition, slot), *value = accepted_json(&slot->event, &counted);
    int failed = place == NULL || value == NULL || PyDict_SetItem(taken, slot->key, place) < 0;
    PyObject *made = failed ? NULL : type->tp_alloc(type, 4);
    if (made == NULL) {
        Py_XDECREF(place);
        Py_XDECREF(value);
        return -1;
    }
    PyTuple_SET_ITEM(made, 0, Py_NewRef(slot->key));
    PyTuple_SET_ITEM(made, 1, place);
    PyTuple_SET_ITEM(made, 2, value);
    PyTuple_SET_ITEM(made, 3, Py_NewRef(slot->record));
    failed = PyList_Append(accepted, made) < 0;
    Py_DECREF(made);
    return failed ? -1 : 1;
}

PyDoc_STRVAR(count_doc,
             "count(start, places, taken, accepted, type)\n--\n\n"
             "Count the events from an index on: each takes its key in `taken`, and its key, packed Place, value on"
             " accepted-usage and record are added to `accepted` as a named tuple of the type. Returns the index of the"
             " first that is not certain, or the number of all.");

/* Whether it is a type of tuples that have no more than their items. */
static int is_tuple_type(PyObject *type)
{
    return PyType_Check(type) && PyType_IsSubtype((PyTypeObject *)type, &PyTuple_Type)
           && ((PyTypeObject *)type)->tp_basicsize == PyTuple_Type.tp_basicsize;
}

static PyObject *slice_count(Slice *self, PyObject *const *args, Py_ssize_t count)
{
    Py_ssize_t start = count == 5 ? PyLong_AsSsize_t(args[0]) : -1;
    if (start < 0 || !PyList_CheckExact(args[1]) || PyList_GET_SIZE(args[1]) != self->size
        || !PyDict_CheckExact(args[2]) || !PyList_CheckExact(args[3]) || !is_tuple_type(args[4])) {
        PyErr_SetString(PyExc_TypeError, "count() takes an index, the places of all keys, a dict, a list, a tuple type");
        return NULL;
    }
    for (; start < self->size; start++) {
        if (PyList_GET_ITEM(args[1], start) != Py_None)
            break;
        int is_counted = count_slot(self, &self->slots[start], args[2], args[3], (PyTypeObject *)args[4]);
        if (is_counted < 0)
            return NULL;
        if (!is_counted)
            break;
    }
    return PyLong_FromSsize_t(start);
}

static PyMethodDef slice_methods[] = {
    {"count", (PyCFunction)(void (*)(void))slice_count, METH_FASTCALL, count_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef slice_members[] = {
    {"keys", T_OBJECT_EX, offsetof(Slice, keys), READONLY, "the unique key of each event, empty of the others"},
    {"others", T_OBJECT_EX, offsetof(Slice, others), READONLY, "the indexes of those that have no standing"},
    {NULL, 0, 0, 0, NULL},
};

PyTypeObject SliceType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "schemas._plain.Slice",
    .tp_doc = "Slice(records, partition, standings, touched, find)\n--\n\n"
              "The plain events among records. `standings` has the Standing of each subscription, or None where its"
              " events are Python's; of one that it lacks, find(subscription_id, occurred_at) makes it. Those that"
              " count() has added to are put into `touched`.",
    .tp_basicsize = sizeof(Slice),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = slice_new,
    .tp_dealloc = (destructor)slice_dealloc,
    .tp_methods = slice_methods,
    .tp_members = slice_members,
};
