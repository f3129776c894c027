// The options that say which engine to use, shared by all commands that run a model, and their checked form.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/engine/messages.h"
#include "mcp/app/context.h"

namespace kvasir::app {

extern const OptionSpec kModel, kContext, kThreads, kBackend, kGpuLayers, kKvType, kActivations, kQuantize, kPackedWeights, kJson;

/// kModel, kContext, kThreads, kBackend, kGpuLayers, kKvType, kActivations, kQuantize and then `more`.
std::vector<const OptionSpec*> engine_options(std::vector<const OptionSpec*> more);
/// The same for commands that generate.
std::vector<const OptionSpec*> serving_options(std::vector<const OptionSpec*> more);

/// `model` is as the user gave it, not resolved. Errors: kInvalidArgument with what is allowed.
Result<EngineKey> engine_key(const Options& options);
/// The same with the model resolved to a path. Errors also: kUnavailable.
Result<EngineKey> resolved_engine_key(const Context& context);
/// Where packed weights are kept; empty: nowhere. For serving_options(). Errors: kInvalidArgument.
Result<std::string> packed_weights_folder(const Context& context);
/// What --gpu-layers says; nothing: auto. Errors: kInvalidArgument.
Result<std::optional<uint32_t>> gpu_layers_option(const std::string& text);
/// What --quantize says, alone. Errors: kInvalidArgument.
Result<QuantizeOnLoad> quantize_option(const Options& options);

}  // namespace kvasir::app
