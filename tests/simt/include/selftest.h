// What the files selftest*.cu share: their functions are called through ctypes, and return the message of the exception
// that a launch raised, or null.
#pragma once
#include <exception>
#include <string>

#define EXPORT extern "C" __attribute__((visibility("default")))

// The text lives until the next call.
template <class F>
const char* message_of(F&& f) {
    static std::string message;
    try {
        f();
    } catch (const std::exception& error) {
        message = error.what();
        return message.c_str();
    }
    return nullptr;
}
