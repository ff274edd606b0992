"""One story, told by all examples: a service that sells tokens, a plan, a subscriber, what she used and is billed."""

from typing import Any, Final

Example = dict[str, Any]

REQUEST_ID: Final = "5f0c1e9ad1b24c6f8a7e3d20"

NEW_SERVICE: Final[Example] = {"id": "svc_chat", "name": "Chat", "gracePeriodSeconds": 3600}
SERVICE: Final[Example] = {
    **NEW_SERVICE,
    "status": "ACTIVE",
    "eventKeyScope": "SUBSCRIPTION",
    "maxEventAgeSeconds": None,
}

NEW_PLAN: Final[Example] = {
    "id": "plan_pay_as_you_go",
    "serviceId": "svc_chat",
    "name": "Pay as you go",
    "pricingType": "USAGE_BASED",
    "billingInterval": "MONTH",
    "unitPrices": {"token_generated": "0.000002"},
    "prices": {
        "image": {
            "model": "GRADUATED",
            "included": "10",
            "tiers": [{"upTo": "100", "unitPrice": "0.04"}, {"unitPrice": "0.03", "flatAmount": "5"}],
        },
        "gigabyte_stored": {"model": "PACKAGE", "unitPrice": "1.5", "packageSize": "50"},
    },
}
PLAN: Final[Example] = {
    **NEW_PLAN,
    "amount": "0.000000",
    "unitPrices": {"token_generated": "0.000002000000"},
    "prices": {
        "image": {
            "model": "GRADUATED",
            "included": "10.000000",
            "tiers": [
                {"upTo": "100.000000", "unitPrice": "0.040000000000", "flatAmount": "0.000000"},
                {"upTo": None, "unitPrice": "0.030000000000", "flatAmount": "5.000000"},
            ],
        },
        "gigabyte_stored": {
            "model": "PACKAGE",
            "included": "0.000000",
            "unitPrice": "1.500000000000",
            "packageSize": "50.000000",
        },
    },
    "currency": "USDC",
    "invoicing": "AUTOMATIC",
}

NEW_SUBSCRIPTION: Final[Example] = {
    "id": "sub_ada",
    "serviceId": "svc_chat",
    "paymentPlanId": "plan_pay_as_you_go",
    "userId": "user_ada",
    "billingAnchor": "2026-01-01T00:00:00.000Z",
}
SUBSCRIPTION: Final[Example] = {
    **NEW_SUBSCRIPTION,
    "status": "ACTIVE",
    "timeZone": "UTC",
    "currentPeriodStart": "2026-01-01T00:00:00.000Z",
    "currentPeriodEnd": "2026-02-01T00:00:00.000Z",
    "createdAt": "2026-01-01T00:00:00.000Z",
    "planChanges": [],
}
CHANGED_SUBSCRIPTION: Final[Example] = {
    **SUBSCRIPTION,
    "planChanges": [{"paymentPlanId": "plan_volume", "from": "2026-02-01T00:00:00.000Z"}],
}

NEW_USAGE_EVENT: Final[Example] = {
    "serviceId": "svc_chat",
    "subscriptionId": "sub_ada",
    "userId": "user_ada",
    "eventKey": "token_generated#req-42",
    "quantity": "5.25",
    "occurredAt": "2026-01-31T12:00:00.000Z",
}
USAGE_EVENT: Final[Example] = {
    "id": "ue_3_1041",
    **NEW_USAGE_EVENT,
    "eventId": None,
    "meter": "token_generated",
    "quantity": "5.250000",
    "invoiceId": None,
    "billingPeriod": {"start": "2026-01-01T00:00:00.000Z", "end": "2026-02-01T00:00:00.000Z"},
    "status": "RECORDED",
    "createdAt": "2026-01-31T12:00:00.318Z",
    "updatedAt": "2026-01-31T12:00:00.318Z",
}
RECEIPT: Final[Example] = {"id": "ue_3_1041", "status": "PENDING"}

INVOICE: Final[Example] = {
    "id": "1f7b7c1e-4d3f-5a83-9d26-0f1c6f1f3a5d",
    "serviceId": "svc_chat",
    "paymentPlanId": "plan_pay_as_you_go",
    "userId": "user_ada",
    "subscriptionId": "sub_ada",
    "status": "OPEN",
    "source": "CLOSER",
    "amount": "3.200000",
    "currency": "USDC",
    "periodStart": "2026-01-01T00:00:00.000Z",
    "periodEnd": "2026-02-01T00:00:00.000Z",
    "sequence": 0,
    "digest": "7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730",
    "logPartition": 3,
    "firstOffset": 12,
    "lastOffset": 1041,
    "dueAt": None,
    "paidAt": None,
    "createdAt": "2026-02-01T01:00:00.000Z",
    "updatedAt": "2026-02-01T01:00:00.000Z",
    "lines": [
        {
            "meter": "image",
            "quantity": "15.000000",
            "unitPrice": None,
            "amount": "0.200000",
            "eventCount": 1,
            "price": PLAN["prices"]["image"],
            "chargedBefore": None,
        },
        {
            "meter": "token_generated",
            "quantity": "1500000.000000",
            "unitPrice": "0.000002000000",
            "amount": "3.000000",
            "eventCount": 2,
            "price": {"model": "PER_UNIT", "included": "0.000000", "unitPrice": "0.000002000000"},
            "chargedBefore": None,
        },
    ],
}
INVOICE_WITH_EVENTS: Final[Example] = {**INVOICE, "events": [USAGE_EVENT]}

NEW_INVOICE: Final[Example] = {
    "id": "inv_setup_ada",
    "serviceId": "svc_chat",
    "paymentPlanId": "plan_pay_as_you_go",
    "userId": "user_ada",
    "amount": "250",
    "dueAt": "2026-02-15T00:00:00.000Z",
}
MANUAL_INVOICE: Final[Example] = {
    **INVOICE_WITH_EVENTS,
    **NEW_INVOICE,
    "subscriptionId": None,
    "status": "DRAFT",
    "source": "MANUAL",
    "amount": "250.000000",
    "periodStart": None,
    "periodEnd": None,
    "sequence": None,
    "digest": None,
    "logPartition": None,
    "firstOffset": None,
    "lastOffset": None,
    "lines": [],
    "events": [],
}

REJECTED_EVENT: Final[Example] = {
    "id": "ue_3_1042",
    "code": "subscription_not_active",
    "error": "The subscription was not ACTIVE at the time of the request.",
    "field": "subscriptionId",
    "receivedAt": "2026-01-31T12:00:01.007Z",
    "origin": {"topic": "usage-events", "partition": 3, "offset": 1042},
    "keyBase64": "c3ViX2FkYQ==",
    "valueBase64": "eyJzZXJ2aWNlSWQiOiAic3ZjX2NoYXQifQ==",
}
STATUS: Final[Example] = {
    "at": "2026-01-31T12:00:03.100Z",
    "parts": [
        {"part": "kafka", "isWell": True, "fact": "answered within 6 ms"},
        {
            "part": "closer",
            "isWell": False,
            "fact": "its lease was last renewed 64 s ago; 2 records wait, the oldest for 61 s",
        },
    ],
    "partitions": [
        {
            "partition": 3,
            "position": 1043,
            "endOffset": 1045,
            "lag": 2,
            "waitingSince": "2026-01-31T12:00:03.020Z",
            "positionAt": "2026-01-31T12:00:02.400Z",
            "ledger": {
                "received": 1043,
                "accepted": 1031,
                "duplicate": 8,
                "rejected": 4,
                "forwarded": 0,
                "forwardedIn": 2,
                "forwardedInAccepted": 2,
                "forwardedInDuplicate": 0,
                "forwardedInRejected": 0,
                "voids": 1,
                "voidsRepeated": 0,
                "voidsRejected": 0,
            },
            "problem": None,
        }
    ],
    "rates": {
        "stepSeconds": 10,
        "steps": [{"end": "2026-01-31T12:00:00.000Z", "received": 510, "accepted": 508, "duplicate": 2, "rejected": 0}],
    },
}
SUBSCRIPTION_USAGE: Final[Example] = {
    "periods": [
        {
            "start": "2026-01-01T00:00:00.000Z",
            "end": "2026-02-01T00:00:00.000Z",
            "closed": False,
            "amount": "3.200000",
            "currency": "USDC",
            "totals": [
                {"meter": "image", "quantity": "15.000000", "eventCount": 1, "amount": "0.200000"},
                {
                    "meter": "token_generated",
                    "quantity": "1500000.000000",
                    "eventCount": 2,
                    "amount": "3.000000",
                },
            ],
        }
    ],
    "asOf": {"partition": 3, "offset": 1043, "time": "2026-01-31T12:00:02.400Z"},
}
