/* The terms on which events of one subscription and period count, and what has been counted. */

#ifndef TALLY_STANDING_H
#define TALLY_STANDING_H

#include "reading.h"

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

extern PyTypeObject StandingType;

/* Whether the terms can be met by comparing and writing bytes. */
int is_plain_standing(const Standing *standing);

/* The sum of a meter, made where there was none, until the next is asked for; NULL where that fails. */
Sum *sum_of(Standing *standing, const Text *meter);

#endif
