"""x"""

from tests.faults.conftest import FaultyStack, assert_right


def test_smoke(world: FaultyStack) -> None:
    assert_right(world.finished(world.submit("job-1")), "job-1")
    print(world.model.journal.replies("job-1"), world.sweep())


def test_smoke2(proxied: FaultyStack) -> None:
    assert_right(proxied.finished(proxied.submit("job-2")), "job-2")
    print(proxied.model.journal.replies("job-2"), proxied.proxy._passed)

import time
def test_smoke3(proxied: FaultyStack) -> None:
  for i in range(4):
    t=time.time()
    proxied.finished(proxied.submit(f"job-3{i}"))
    print(time.time()-t)
    print([round(c.at-t,2) for c in proxied.model.journal.calls(f"job-3{i}")])
