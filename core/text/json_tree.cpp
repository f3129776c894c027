// The part of JsonReader that takes whole values: small trees, and what is skipped.
#include <algorithm>

#include "core/text/json_reader.h"

namespace kvasir::text {

const JsonNode* JsonNode::find(std::string_view key) const noexcept {
  for (size_t i = 0; i < keys.size(); ++i) {
    if (keys[i] == key) return items[i].kind == Kind::kNull ? nullptr : &items[i];
  }
  return nullptr;
}

std::string_view JsonNode::string(std::string_view key) const noexcept {
  const JsonNode* node = find(key);
  return node != nullptr && node->kind == Kind::kString ? std::string_view(node->text) : std::string_view();
}

std::optional<bool> JsonNode::boolean(std::string_view key) const noexcept {
  const JsonNode* node = find(key);
  if (node == nullptr || node->kind != Kind::kBool) return std::nullopt;
  return node->flag;
}

void JsonReader::scalar_into(JsonNode& node) {
  const auto kind = peek();
  if (!kind) return;
  node.kind = *kind;
  switch (*kind) {
    case Kind::kString:
      take_string(node.text);
      break;
    case Kind::kNumber:
      node.number = take_number().value_or(0);
      break;
    case Kind::kBool:
      node.flag = text_[at_] == 't';
      take_word(node.flag ? "true" : "false");
      break;
    case Kind::kNull:
      take_word("null");
      break;
    case Kind::kArray:
    case Kind::kObject:
      break;
  }
}

void JsonReader::skip() {
  const size_t outside = levels_.size();
  JsonNode unused;
  std::string key;
  do {
    const auto kind = peek();
    if (!kind) return;
    if (*kind == Kind::kObject) {
      enter_object();
    } else if (*kind == Kind::kArray) {
      enter_array();
    } else {
      unused.text.clear();
      scalar_into(unused);
    }
    while (!failed() && levels_.size() > outside && !(levels_.back().object ? next_key(key) : next_item())) {
    }
  } while (!failed() && levels_.size() > outside);
}

JsonNode JsonReader::take_tree() {
  const size_t outside = levels_.size();
  JsonNode root;
  std::vector<JsonNode*> open;  // the containers around the place, outermost first
  size_t values = 0;
  JsonNode* target = &root;
  while (target != nullptr && !failed()) {
    if (++values > kMaxTreeValues) fail("the JSON text has more than " + std::to_string(kMaxTreeValues) + " values");
    const auto kind = peek();
    if (!kind) break;
    target->kind = *kind;
    if (*kind == Kind::kObject || *kind == Kind::kArray) {
      if (!(*kind == Kind::kObject ? enter_object() : enter_array())) break;
      open.push_back(target);
    } else {
      scalar_into(*target);
    }
    target = nullptr;
    while (!failed() && levels_.size() > outside) {  // the next place, after closing what ends here
      JsonNode& inside = *open.back();
      std::string key;
      if (levels_.back().object) {
        if (next_key(key)) {
          if (std::find(inside.keys.begin(), inside.keys.end(), key) != inside.keys.end())
            fail("a key is there twice: " + key.substr(0, 40));
          if (inside.keys.size() == kMaxTreeKeys)
            fail("an object has more than " + std::to_string(kMaxTreeKeys) + " keys");
          inside.keys.push_back(std::move(key));
          target = &inside.items.emplace_back();
          break;
        }
      } else if (next_item()) {
        target = &inside.items.emplace_back();
        break;
      }
      open.pop_back();
    }
  }
  return root;
}

}  // namespace kvasir::text
