/* Many plain events at once, counted under terms that the rules have set.

   A Slice reads records and finds the standing of each; count() then takes the events one after the other for as
   long as each is within its terms and its key is new. What is not certain by that is not counted here: Python decides
   it by the rules, and count() goes on behind it. tests/unit/test_deciding_compiled.py holds both ways equal. */

#include "slice.h"

#include <structmember.h>

#include "event.h"
#include "fetched_record.h"
#include "standing.h"

#define BODY_BYTES_MAX (64 * 1024) /* schemas.document.BODY_BYTES_MAX */

/* A record of the slice. */
typedef struct {
    PyObject *record;
    PyObject *value;   /* holds the texts of the event, where the record itself does not */
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

/* The value of the slot's record, for as long as there is the slot; without chars where it is not in bytes. Returns -1
   with an exception set. */
static int read_value(Slot *slot, Text *value)
{
    *value = (Text){NULL, 0};
    if (is_record(slot->record)) {
        *value = ((Record *)slot->record)->value;
        return 0;
    }
    slot->value = PyObject_GetAttr(slot->record, name_value);
    if (slot->value != NULL && PyBytes_CheckExact(slot->value))
        *value = (Text){PyBytes_AS_STRING(slot->value), PyBytes_GET_SIZE(slot->value)};
    return slot->value == NULL ? -1 : 0;
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

static void read_numbers(Slot *slot)
{
    if (is_record(slot->record)) {
        slot->offset = ((Record *)slot->record)->offset;
        slot->requested_at = ((Record *)slot->record)->timestamp;
    } else {
        slot->offset = number_at(slot->record, name_offset);
        slot->requested_at = number_at(slot->record, name_timestamp);
    }
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
    Text value;
    if (read_value(slot, &value) < 0)
        return -1;
    if (value.chars == NULL || value.length > BODY_BYTES_MAX)
        return 0;
    Reader reader = reader_within(&value);
    if (!read_event(&reader, &slot->event) || !is_at_end(&reader) || slot->event.texts[INVOICE].chars != NULL)
        return 0;
    read_numbers(slot);
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
    Sum *sum = sum_of(standing, meter);
    if (sum == NULL)
        return -1;
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
