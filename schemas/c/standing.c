/* See standing.h. The rules say the terms: aggregator/rules/standing.py. */

#include "standing.h"

#include <structmember.h>

#include "writing.h"

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

int is_plain_standing(const Standing *self)
{
    return self->service_text.chars != NULL && self->user_text.chars != NULL && self->period_text.chars != NULL
           && self->version >= 0 && self->sequence >= 0
           && (self->third.chars != NULL || self->is_by_event || self->scope == Py_None);
}

Sum *sum_of(Standing *self, const Text *meter)
{
    for (Py_ssize_t i = 0; i < self->meters && i < 4; i++) /* nearly always one of a few */
        if (is_equal(&self->sums[i].name, meter))
            return &self->sums[i];
    PyObject *name = ascii(meter);
    if (name == NULL)
        return NULL;
    PyObject *found = PyDict_GetItemWithError(self->places, name);
    if (found != NULL || PyErr_Occurred()) {
        Py_DECREF(name);
        return found == NULL ? NULL : &self->sums[PyLong_AsSsize_t(found)];
    }
    if (self->meters == self->room) {
        Py_ssize_t room = self->room ? 2 * self->room : 4;
        Sum *sums = PyMem_Realloc(self->sums, (size_t)room * sizeof(Sum));
        if (sums == NULL) {
            Py_DECREF(name);
            PyErr_NoMemory();
            return NULL;
        }
        self->sums = sums;
        self->room = room;
    }
    PyObject *number = PyLong_FromSsize_t(self->meters);
    if (number == NULL || PyDict_SetItem(self->places, name, number) < 0) {
        Py_XDECREF(number);
        Py_DECREF(name);
        return NULL;
    }
    Py_DECREF(number);
    self->sums[self->meters] = (Sum){name, plain(name), 0, 0};
    return &self->sums[self->meters++];
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
