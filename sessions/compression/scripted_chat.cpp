#include "sessions/compression/scripted_chat.h"

#include <array>

namespace kvasir {
namespace {

constexpr size_t kExchanges = 20, kFactEvery = 2;

std::vector<ChatFact> make_facts(Numbers& numbers) {
  static constexpr std::array kColours = {"green", "blue", "red", "yellow", "white", "black", "orange", "purple"};
  static constexpr std::array kCities = {"Bergen", "Lisbon", "Kyoto", "Quito", "Tunis", "Hobart", "Riga", "Porto"};
  const auto number = [&] { return std::to_string(1000 + numbers.below(9000)); };
  const std::string code = number(), port = number(), file = "/srv/log/run" + number() + ".txt", key = "K" + number();
  const std::string colour = kColours[numbers.below(kColours.size())], city = kCities[numbers.below(kCities.size())];
  return {
      {"The code of my locker is " + code + ".", "What is the code of my locker?", "The code of your locker is", "locker", code, 0},
      {"The server listens on port " + port + ".", "On which port does the server listen?", "The server listens on port", "server port", port, 0},
      {"The log is written to " + file + ".", "To which file is the log written?", "The log is written to", "log written", file, 1},
      {"The ticket has the name " + key + ".", "Which name does the ticket have?", "The ticket has the name", "ticket", key, 1},
      {"My favourite colour is " + colour + ".", "What is my favourite colour?", "Your favourite colour is", "favourite colour", colour, 2},
      {"We decided to meet in " + city + ".", "Where did we decide to meet?", "We decided to meet in", "decided meet", city, 3}};
}

std::string small_talk(uint64_t a, uint64_t b) {
  const uint64_t product = a * b;
  return "The number " + std::to_string(product) + " is the product of " + std::to_string(a) + " and " + std::to_string(b) +
         ". It lies between " + std::to_string(product - 1) + " and " + std::to_string(product + 1) + ", and its double is " +
         std::to_string(2 * product) + ".";
}

}  // namespace

ScriptedChat scripted_chat(uint64_t seed) {
  Numbers numbers{seed};
  ScriptedChat chat;
  chat.facts = make_facts(numbers);
  for (size_t i = 0; i < kExchanges; ++i) {
    const bool fact = i % kFactEvery == 0 && i / kFactEvery < chat.facts.size();
    const auto a = numbers.below(90) + 10, b = numbers.below(90) + 10;
    const std::string question = "Tell me something about the number " + std::to_string(a * b) + ".";
    chat.messages.push_back({"user", fact ? chat.facts[i / kFactEvery].said : question, {}});
    chat.messages.push_back({"assistant", fact ? std::string("I will remember that.") : small_talk(a, b), {}});
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
