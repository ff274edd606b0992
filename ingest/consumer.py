import asyncio

from aiokafka import AIOKafkaConsumer


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer, also while its broker is away."""
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        # aiokafka 0.14.0 lets the cancellation of its own fetch out of stop(), see docs/architecture.md, Non-obvious.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        await consumer._client.close()
