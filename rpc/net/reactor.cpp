#include "rpc/net/reactor.h"

#ifndef ASIO_STANDALONE
#define ASIO_STANDALONE
#endif
#include <asio.hpp>
#include <exception>
#include <string>
#include <utility>

#include "core/base/log.h"

namespace kvasir::rpc {
namespace {

void guarded(UniqueFunction<void()>& task) {
  try {
    task();
  } catch (const std::exception& e) {
    log::error(std::string("io_exception ") + e.what());
  }
}

class WatchedDescriptor final : public Descriptor {
 public:
  WatchedDescriptor(asio::io_context& context, int fd) : descriptor_(context, fd) {}
  int fd() const override { return const_cast<asio::posix::stream_descriptor&>(descriptor_).native_handle(); }
  void on_readable(UniqueFunction<void()> fn) override { wait(asio::posix::descriptor::wait_read, std::move(fn)); }
  void on_writable(UniqueFunction<void()> fn) override { wait(asio::posix::descriptor::wait_write, std::move(fn)); }
  void close() override {
    asio::error_code ec;
    descriptor_.close(ec);
  }

 private:
  void wait(asio::posix::descriptor::wait_type type, UniqueFunction<void()> fn) {
    descriptor_.async_wait(type, [task = std::move(fn)](const asio::error_code& ec) mutable {
      if (ec != asio::error::operation_aborted) guarded(task);
    });
  }
  asio::posix::stream_descriptor descriptor_;
};

}  // namespace

struct Reactor::Impl {
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
};

Reactor::Reactor() : impl_(std::make_unique<Impl>()) {}
Reactor::~Reactor() = default;

void Reactor::run() { impl_->context.run(); }
void Reactor::stop() { impl_->context.stop(); }

void Reactor::post(UniqueFunction<void()> task) {
  asio::post(impl_->context, [task = std::move(task)]() mutable { guarded(task); });
}

void Reactor::after(std::chrono::milliseconds delay, UniqueFunction<void()> task) {
  auto timer = std::make_unique<asio::steady_timer>(impl_->context, delay);
  asio::steady_timer& armed = *timer;
  armed.async_wait([timer = std::move(timer), task = std::move(task)](const asio::error_code& ec) mutable {
    if (!ec) guarded(task);
  });
}

std::unique_ptr<Descriptor> Reactor::watch(int fd) { return std::make_unique<WatchedDescriptor>(impl_->context, fd); }

}  // namespace kvasir::rpc
