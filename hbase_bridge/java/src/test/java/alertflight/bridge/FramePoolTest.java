package alertflight.bridge;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

class FramePoolTest {
  private static BatchMessage empty() {
    return new BatchMessage(new BatchColumn[0], 0);
  }

  @Test
  void whoFindsNoRoomWaitsForIt() throws Exception {
    FramePool pool = new FramePool(4 << 16);
    List<Frame> held = new ArrayList<>();
    for (int number = 0; number < 4; number++) {
      held.add(pool.take(empty(), 0, 1, 1));
    }
    assertFalse(pool.isRoomy());
    CompletableFuture<Frame> waiting = CompletableFuture.supplyAsync(() -> {
      try {
        return pool.take(empty(), 0, 1, 1);
      } catch (BridgeException | InterruptedException fault) {
        throw new IllegalStateException(fault);
      }
    });
    held.remove(0).release();
    held.add(waiting.get());
    assertEquals(4 << 16, pool.taken());
    held.forEach(Frame::release);
    assertEquals(0, pool.taken());
    assertTrue(pool.isRoomy());
  }
}
