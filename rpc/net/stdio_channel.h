// One client on a pair of descriptors. Both may be files, terminals or /dev/null, which epoll refuses, so a thread reads
// and a thread writes; both wait with poll() and can be woken, and neither holds more than a bounded number of bytes.
// Everything but these threads' loops runs on the io thread. Owned by the server.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "core/base/unique_function.h"
#include "rpc/net/outbox.h"
#include "rpc/net/server_context.h"
#include "rpc/net/stdio_framing.h"
#include "rpc/peer.h"

namespace kvasir::rpc {

class StdioChannel final : public Channel {
 public:
  /// `ended` is called once, on the io thread: the input is over and everything in flight is answered or given up.
  StdioChannel(ServerContext& context, int in_fd, int out_fd, Framing framing, Service& service, UniqueFunction<void()> ended);
  ~StdioChannel() override;

  void send_answer(std::string text) override;
  void send_notification(std::string text) override;
  bool congested() const override;
  void cut(std::string_view reason) override;
  void idle() override;
  std::chrono::milliseconds answer_gap() const override;

  /// The server stops: cancel, let the answers out, then `ended`.
  void shutdown();
  size_t buffered_bytes() const;

 private:
  /// A pipe that wakes a thread out of poll().
  struct Waker {
    Waker();
    ~Waker();
    void wake() const;
    int read_fd = -1;
    int write_fd = -1;
  };
  void read_loop();
  void write_loop();
  bool write_some(std::string_view bytes);
  void chunk(std::string bytes);
  void input_over();
  void output_lost();
  void begin_ending(CancelCause cause, std::chrono::milliseconds grace);
  void finish_when_quiet();
  void end_now();
  /// Runs a task on the io thread unless this object is gone by then.
  void on_loop(UniqueFunction<void()> task);

  ServerContext& context_;
  const int in_fd_;
  const int out_fd_;
  const bool mcp_;
  UniqueFunction<void()> ended_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  StdioFraming framing_;
  Peer peer_;
  bool ending_ = false;
  bool over_ = false;
  bool cut_ = false;
  TimePoint give_up_{};

  mutable std::mutex mutex_;
  std::condition_variable reader_may_go_;
  std::condition_variable writer_has_work_;
  Outbox outbox_;              // guarded by mutex_
  bool chunk_pending_ = false; // guarded by mutex_: the io thread has not taken the last chunk
  bool stop_ = false;          // guarded by mutex_
  bool output_lost_ = false;   // guarded by mutex_
  bool was_congested_ = false; // guarded by mutex_
  Waker reader_waker_;
  Waker writer_waker_;
  std::thread reader_;
  std::thread writer_;
};

}  // namespace kvasir::rpc
