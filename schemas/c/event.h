/* A plain usage event: read from a body, identified, and written as one that counts. */

#ifndef TALLY_EVENT_H
#define TALLY_EVENT_H

#include "blake2b.h"
#include "writing.h"

enum { SERVICE, SUBSCRIPTION, USER, EVENT_KEY, QUANTITY, OCCURRED_AT, INVOICE, EVENT, MEMBERS };
#define REQUIRED ((1 << SERVICE) | (1 << SUBSCRIPTION) | (1 << USER) | (1 << EVENT_KEY) | (1 << QUANTITY))

static const Text NAMES[MEMBERS] = {
    {"serviceId", 9}, {"subscriptionId", 14}, {"userId", 6},    {"eventKey", 8},
    {"quantity", 8},  {"occurredAt", 10},     {"invoiceId", 9}, {"eventId", 7},
};

typedef struct {
    Text texts[MEMBERS];  /* those of omitted members have no chars */
    int64_t quantity;     /* in millionths */
    int64_t sent_at;      /* occurredAt in ms; -1 where it is omitted */
} Event;

/* The member of a name; nearly always the one that is expected or soon after it. */
static inline int member_of(const Text *name, int expected)
{
    for (int tried = 0; tried < MEMBERS; tried++) {
        int member = (expected + tried) % MEMBERS;
        if (is_equal(&NAMES[member], name))
            return member;
    }
    return -1;
}

/* The members of an object, each once and nothing else. */
static inline int read_members(Reader *reader, Text members[MEMBERS])
{
    int found = 0, member = -1;
    if (!read_mark(reader, '{'))
        return 0;
    do {
        Text name, value;
        if (!read_text(reader, &name) || !read_mark(reader, ':') || !read_text(reader, &value))
            return 0;
        member = member_of(&name, member + 1);
        if (member < 0 || found & (1 << member))
            return 0;
        found |= 1 << member;
        members[member] = value;
    } while (read_mark(reader, ','));
    return read_mark(reader, '}') && (found & REQUIRED) == REQUIRED;
}

/* Whether it was a plain event. */
static inline int read_event(Reader *reader, Event *event)
{
    memset(event, 0, sizeof *event);
    if (!read_members(reader, event->texts))
        return 0;
    for (int member = 0; member < MEMBERS; member++)
        if (event->texts[member].chars && member != QUANTITY && member != OCCURRED_AT
            && !is_trimmed(&event->texts[member]))
            return 0;
    event->quantity = quantity_of(&event->texts[QUANTITY]);
    event->sent_at = -1;
    if (event->texts[OCCURRED_AT].chars && (event->sent_at = time_of(&event->texts[OCCURRED_AT])) < 0)
        return 0;
    return event->quantity >= 0;
}

/* schemas.usage_event.meter_of() */
static inline Text meter_of(const Event *event)
{
    Text meter = event->texts[EVENT_KEY];
    const char *mark = meter.length > 0 ? memchr(meter.chars, '#', (size_t)meter.length) : NULL;
    if (mark != NULL && mark > meter.chars)
        meter.length = mark - meter.chars;
    return meter;
}

/* schemas.unique_key.unique_key(): by subscription and event key, and by a third part where that has chars */
static inline PyObject *unique_key_of(const Event *event, const Text *third)
{
    Writer key;
    key.at = key.chars;
    PUT(&key, "[\"");
    put_text(&key, &event->texts[SUBSCRIPTION]);
    PUT(&key, "\",\"");
    put_text(&key, &event->texts[EVENT_KEY]);
    if (third->chars != NULL) {
        PUT(&key, "\",\"");
        put_text(&key, third);
    }
    PUT(&key, "\"]");
    return written(&key);
}

/* aggregator.rules.uniqueness.fingerprint() */
static inline void fingerprint_of(const Event *event, unsigned char fingerprint[DIGEST])
{
    Writer content;
    content.at = content.chars;
    put_text(&content, &event->texts[SERVICE]);
    PUT(&content, "\n");
    put_text(&content, &event->texts[USER]);
    PUT(&content, "\n");
    put_number(&content, (uint64_t)event->quantity, 0);
    PUT(&content, "\n");
    put_text(&content, &event->texts[INVOICE]);
    PUT(&content, "\n");
    put_text(&content, &event->texts[EVENT]);
    PUT(&content, "\n");
    if (event->sent_at >= 0)
        put_number(&content, (uint64_t)event->sent_at, 0);
    digest(content.chars, (size_t)(content.at - content.chars), fingerprint);
}

/* What becomes known of an event when it counts. */
typedef struct {
    int64_t partition;
    int64_t offset;
    int64_t requested_at; /* ms */
    int64_t occurred_at;  /* ms */
    Text meter;
    Text period; /* as JSON */
    const unsigned char *fingerprint;
    int64_t version;
    int64_t sequence; /* -1 where it is not known */
} Counted;

static inline int is_writable_time(int64_t at_ms)
{
    return at_ms >= 0 && at_ms < days_of(YEAR_MAX + 1, 1, 1) * DAY_MS;
}

/* schemas.usage_event.AcceptedUsageEvent.to_json() */
static inline PyObject *accepted_json(const Event *event, const Counted *counted)
{
    Writer writer, *w = &writer;
    w->at = w->chars;
    PUT(w, "{\"id\":\"ue_");
    put_number(w, (uint64_t)counted->partition, 0);
    PUT(w, "_");
    put_number(w, (uint64_t)counted->offset, 0);
    PUT(w, "\",\"serviceId\":");
    put_quoted(w, &event->texts[SERVICE]);
    PUT(w, ",\"subscriptionId\":");
    put_quoted(w, &event->texts[SUBSCRIPTION]);
    PUT(w, ",\"userId\":");
    put_quoted(w, &event->texts[USER]);
    PUT(w, ",\"eventKey\":");
    put_quoted(w, &event->texts[EVENT_KEY]);
    PUT(w, ",\"eventId\":");
    put_optional(w, &event->texts[EVENT]);
    PUT(w, ",\"meter\":");
    put_quoted(w, &counted->meter);
    PUT(w, ",\"quantity\":");
    put_quantity(w, event->quantity);
    PUT(w, ",\"occurredAt\":\"");
    char *occurred = w->at;
    put_time(w, counted->occurred_at);
    PUT(w, "\",\"invoiceId\":");
    put_optional(w, &event->texts[INVOICE]);
    PUT(w, ",\"billingPeriod\":");
    put_text(w, &counted->period);
    PUT(w, ",\"status\":\"RECORDED\",\"createdAt\":\"");
    char *requested = w->at;
    put_time(w, counted->requested_at);
    PUT(w, "\",\"updatedAt\":\"");
    put(w, requested, TIME_LENGTH);
    PUT(w, "\",\"partition\":");
    put_number(w, (uint64_t)counted->partition, 0);
    PUT(w, ",\"offset\":");
    put_number(w, (uint64_t)counted->offset, 0);
    PUT(w, ",\"fingerprint\":\"");
    for (int i = 0; i < DIGEST; i++) {
        *w->at++ = "0123456789abcdef"[counted->fingerprint[i] >> 4];
        *w->at++ = "0123456789abcdef"[counted->fingerprint[i] & 15];
    }
    PUT(w, "\",\"catalogVersion\":");
    put_number(w, (uint64_t)counted->version, 0);
    PUT(w, ",\"sequence\":");
    if (counted->sequence < 0)
        PUT(w, "null");
    else
        put_number(w, (uint64_t)counted->sequence, 0);
    PUT(w, ",\"sentOccurredAt\":");
    if (event->sent_at >= 0) {
        PUT(w, "\"");
        put(w, occurred, TIME_LENGTH);
        PUT(w, "\"}");
    } else
        PUT(w, "null}");
    return written(w);
}

#endif
