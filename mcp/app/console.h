// The program's own stdout and stderr. take_stdout() is the first statement of main: from then on file descriptor 1 is
// stderr, so nothing that a library prints can get between results or protocol messages. Main thread only.
#pragma once

#include <string>
#include <string_view>

namespace kvasir::app {

/// Moves stdout to a private descriptor and points descriptor 1 at stderr. Closed standard descriptors become
/// /dev/null first, so that no file opened later gets their numbers. Returns the private one.
int take_stdout() noexcept;

class Console {
 public:
  explicit Console(int out_fd);
  int out_fd() const noexcept { return out_fd_; }

  /// Results. After a failed write nothing more is written and broken() is true.
  void out(std::string_view text);
  void line(std::string_view text) { out(std::string(text) + "\n"); }
  bool broken() const noexcept { return broken_; }

  /// Words for people, on stderr.
  void note(std::string_view text);
  bool out_is_terminal() const noexcept { return out_terminal_; }
  bool err_is_terminal() const noexcept { return err_terminal_; }
  /// Escape codes are welcome on stderr: a terminal that is not dumb and NO_COLOR unset (or CLICOLOR_FORCE).
  bool colour() const noexcept { return colour_; }

  /// A progress bar on a terminal, one line per 10 % elsewhere. share: 0..1; the same label continues the bar.
  /// Nothing at all once silence() was called (--log-level error): filters of editors show stderr in the text.
  void progress(std::string_view label, double share);
  void silence() noexcept { silent_ = true; }
  void end_progress();

 private:
  int out_fd_;
  bool out_terminal_ = false, err_terminal_ = false, colour_ = false, broken_ = false, silent_ = false;
  std::string label_;
  int last_step_ = -1;
};

}  // namespace kvasir::app
