"""Batches change no prediction, and one request's failure is its own."""

import asyncio

import httpx
import numpy as np
import pytest

from convwright.errors import ConvwrightError
from convwright.prediction.files import FilePredictor
from convwright.serving.application import application
from convwright.serving.batching import Batcher, Options, exact_sizes
from convwright.serving.limits import ServiceLimits
from convwright.serving.metrics import Metrics
from convwright.serving.models import Models

SHAPE = (1, 8, 8)
TOP = Options(top=3)


def images(count, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), dtype=np.uint8))


@pytest.fixture(scope="module")
def predictor(exported):
    return FilePredictor(exported)


def test_images_that_arrive_together_are_computed_together(predictor):
    sizes = []
    batcher = Batcher(
        lambda pixels, options: predictor.rank(pixels, options.top),
        (1, 2, 4),
        30.0,
        lambda: True,
        lambda size, seconds: sizes.append(size),
    )
    pixels = images(7)
    futures = [batcher.submit([one], TOP) for one in pixels[:4]]
    futures.append(batcher.submit(pixels[4:], TOP))
    batcher.close()
    found = [prediction for future in futures for prediction in future.result(60)]
    assert sizes == [4, 2, 1]
    assert found == [predictor.rank([one], 3)[0] for one in pixels]


def test_a_failure_concerns_its_own_request(predictor):
    def rank(pixels, options):
        if any(not one.any() for one in pixels):
            raise ConvwrightError("black")
        return predictor.rank(pixels, options.top)

    batcher = Batcher(rank, (1, 2, 4), 30.0, lambda: True, lambda size, seconds: None)
    good, black = images(3), np.zeros(SHAPE, np.uint8)
    futures = [batcher.submit([one], TOP) for one in (*good[:2], black, good[2])]
    batcher.close()
    assert [len(futures[place].result(60)) for place in (0, 1, 3)] == [1, 1, 1]
    with pytest.raises(ConvwrightError, match="black"):
        futures[2].result(60)


def test_only_sizes_that_change_no_bit_are_used(predictor):
    assert exact_sizes(lambda batch: batch.reshape(len(batch), -1).sum(1), SHAPE, 6) == (1, 2, 4)

    def differs_from_4_on(batch):
        return batch.reshape(len(batch), -1).sum(1) + (len(batch) >= 4) * 1e-12

    assert exact_sizes(differs_from_4_on, SHAPE, 64) == (1, 2)
    for size in exact_sizes(predictor.logits, SHAPE, 4):
        batch = np.stack(images(size, seed=9))
        alone = np.concatenate([predictor.logits(one[None]) for one in batch])
        assert np.array_equal(predictor.logits(batch), alone)


def at_once(exported, limits, work):
    """Run a coroutine function with a client of a service."""

    async def run():
        metrics = Metrics()
        app = application(Models([exported], limits, metrics), limits, metrics)
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service", timeout=60)
        async with app.service.lifespan(app.app), client:
            return await work(client)

    return asyncio.run(run())


def test_requests_at_once_have_the_same_predictions_as_alone(exported, pictures):
    async def work(client):
        async def answer(content):
            return (await client.post("/predict", files={"image": content})).json()["predictions"]

        contents = list(pictures.values())
        alone = [await answer(content) for content in contents]
        return alone, await asyncio.gather(*(answer(content) for content in contents * 8))

    alone, found = at_once(exported, ServiceLimits(queue=100), work)
    assert found == alone * 8


def slow(content, seconds):
    async def parts():
        yield content[:10]
        await asyncio.sleep(seconds)
        yield content[10:]

    return {"content": parts(), "headers": {"Content-Type": "image/png"}}


def test_requests_beyond_the_queue_are_refused_and_the_others_answered(exported, pictures):
    content = next(iter(pictures.values()))

    async def work(client):
        waiting = [asyncio.create_task(client.post("/predict", **slow(content, 1.0))) for _ in range(2)]
        await asyncio.sleep(0.3)
        refused = await client.post("/predict", files={"image": content})
        answered = await asyncio.gather(*waiting)
        return refused, answered, await client.post("/predict", files={"image": content})

    refused, answered, later = at_once(exported, ServiceLimits(queue=2), work)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "busy")
    assert int(refused.headers["retry-after"]) > 0
    assert [each.status_code for each in (*answered, later)] == [200] * 3


def test_a_request_that_takes_too_long_is_refused(exported, pictures):
    content = next(iter(pictures.values()))

    async def work(client):
        return [await client.post("/predict", **slow(content, 30)), await client.post("/predict", **slow(content, 0))]

    late, good = at_once(exported, ServiceLimits(timeout=5.0), work)
    assert (late.status_code, late.json()["error"]["code"]) == (503, "timeout")
    assert good.status_code == 200
