"""The signature of a webhook, by the convention of Standard Webhooks."""

import base64
import hashlib
import hmac
from collections.abc import Sequence


def signed_headers(keys: Sequence[bytes], webhook_id: str, sent_at: int, body: bytes) -> dict[str, str]:
    """The headers of an attempt at `sent_at` (ms). With several keys a receiver may verify by any of them."""
    timestamp = str(sent_at // 1_000)
    content = f"{webhook_id}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode() for key in keys)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
