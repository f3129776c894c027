#include "sessions/compression/scripted_chat.h"

#include <array>
#include <string_view>
#include <utility>

namespace kvasir {
namespace {

constexpr size_t kExchanges = 30, kFacts = 8, kWithFacts = 26;  // the newest exchanges hold none

/// A list in the order of a seed.
template <size_t N>
std::array<std::string, N> shuffled(const std::array<std::string_view, N>& list, Numbers& numbers) {
  std::array<std::string, N> out;
  for (size_t i = 0; i < N; ++i) out[i] = list[i];
  for (size_t i = N; i > 1; --i) std::swap(out[i - 1], out[numbers.below(i)]);
  return out;
}

template <size_t N>
std::string one_of(const std::array<std::string_view, N>& list, Numbers& numbers) {
  return std::string(list[numbers.below(N)]);
}

/// Two facts of each category, in the order of a seed, so that no category is always the oldest. What is said up to what is
/// asked for begins the answer, and no two begin alike: a small model can copy, but neither turn "my" into "your" nor tell
/// the codes of two doors apart.
std::array<ChatFact, kFacts> make_facts(Numbers& numbers) {
  static constexpr std::array<std::string_view, 8>
      kDoors = {"kitchen", "cellar", "office", "garage", "attic", "school", "church", "bakery"},
      kPlans = {"tower", "harbour", "station", "theatre", "stadium", "museum", "hospital", "airport"},
      kFiles = {"draft", "notes", "table", "sketch", "report", "list", "letter", "map"},
      kThings = {"printer", "heating", "lift", "radio", "kettle", "mower", "scanner", "freezer"},
      kNames = {"Anna", "Boris", "Clara", "David", "Emma", "Felix", "Greta", "Henry"},
      kColours = {"green", "blue", "yellow", "white", "black", "orange", "purple", "brown"},
      kMeals = {"rice", "bread", "cheese", "fish", "pasta", "salad", "honey", "pizza"},
      kCities = {"Bergen", "Lisbon", "Kyoto", "Quito", "Tunis", "Hobart", "Riga", "Porto"};
  static constexpr std::array<std::string_view, 7> kDays = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};
  const auto who = shuffled(kNames, numbers);
  const auto digits = [&](uint64_t least) { return std::to_string(least + numbers.below(9 * least)); };
  // Each in a statement of its own: a compiler may evaluate a + b in any order.
  const std::string code = digits(1000), phone = digits(1000), stem = one_of(kFiles, numbers), file = stem + digits(100) + ".txt";
  const std::string ticket = "K" + digits(100);
  const std::string door = one_of(kDoors, numbers), plan = one_of(kPlans, numbers), thing = one_of(kThings, numbers);
  std::array<ChatFact, kFacts> facts = {{
      {"What is the code of the " + door + " door?", "The code of the " + door + " door is", "code " + door, code, 0},
      {"What are the last digits of the phone number of " + who[0] + "?", "The phone number of " + who[0] + " ends in",
       "phone " + who[0], phone, 0},
      {"In which file is the plan of the " + plan + "?", "The plan of the " + plan + " is in the file", "plan " + plan, file, 1},
      {"Which ticket is about the " + thing + "?", "The ticket about the " + thing + " has the name", "ticket " + thing, ticket, 1},
      {"What is the favourite colour of " + who[1] + "?", "The favourite colour of " + who[1] + " is", "favourite colour",
       one_of(kColours, numbers), 2},
      {"What does " + who[2] + " like to eat most?", "What " + who[2] + " likes to eat most is", "likes eat " + who[2],
       one_of(kMeals, numbers), 2},
      {"In which city will we meet " + who[3] + "?", "We decided to meet " + who[3] + " in", "decided meet", one_of(kCities, numbers), 3},
      {"On which day will we call " + who[4] + "?", "It was agreed to call " + who[4] + " on", "agreed call", one_of(kDays, numbers), 3},
  }};
  for (size_t i = kFacts; i > 1; --i) std::swap(facts[i - 1], facts[numbers.below(i)]);
  return facts;
}

/// Sentences that name nothing a fact could be mixed up with.
std::string small_talk(std::string things, Numbers& numbers) {
  static constexpr std::array kFirst = {"make many people happy", "are older than most towns", "need more care than one thinks",
                                        "are best seen in the morning", "have changed little over the years",
                                        "are part of many old stories"};
  static constexpr std::array kSecond = {"My neighbours talk about them at dinner.", "Children ask about them all the time.",
                                         "A friend of mine wrote a song about them.", "In winter they are easy to forget.",
                                         "Most people learn about them early in life.", "Some people collect pictures of them."};
  things.front() = static_cast<char>(things.front() - 'a' + 'A');
  const char* first = kFirst[numbers.below(kFirst.size())];
  return things + " " + first + ". " + kSecond[numbers.below(kSecond.size())];
}

}  // namespace

std::string ChatFact::said() const { return lead + " " + truth + "."; }

ScriptedChat scripted_chat(uint64_t seed) {
  static constexpr std::array<std::string_view, kExchanges> kThings = {
      "rivers", "mountains", "songs", "windmills", "trains", "bees",    "games", "lighthouses", "soups",   "clouds",
      "horses", "bicycles",  "poems", "bridges",   "apples", "violins", "kites", "lamps",       "owls",    "candles",
      "boats",  "markets",   "trees", "gloves",    "clocks", "stones",  "foxes", "paintings",   "spoons",  "mirrors"};
  Numbers numbers{seed};
  ScriptedChat chat;
  const auto facts = make_facts(numbers);
  const auto things = shuffled(kThings, numbers);
  for (size_t i = 0; i < kExchanges; ++i) {
    const size_t told = chat.facts.size();
    if (told < kFacts && i == (2 * told + 1) * kWithFacts / (2 * kFacts)) {
      chat.facts.push_back(facts[told]);
      chat.messages.push_back({"user", facts[told].said(), {}});
      chat.messages.push_back({"assistant", "I will remember that.", {}});
    } else {
      chat.messages.push_back({"user", "Tell me something about " + things[i] + ".", {}});
      chat.messages.push_back({"assistant", small_talk(things[i], numbers), {}});
    }
  }
  for (const ChatMessage& message : chat.messages) {
    Turn turn;
    turn.role = message.role;
    turn.content = message.content;
    chat.turns.push_back(std::move(turn));
  }
  chat.turns.back().tokens = {0};  // plan_summary() wants the last answer as ids; here it stays a message
  return chat;
}

}  // namespace kvasir
