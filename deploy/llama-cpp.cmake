# Read by the build of llama-cpp-python (CMAKE_PROJECT_llama.cpp_INCLUDE), which else compiles what
# llama.cpp's command line tools share. Nothing here loads that; it is a third of the work.
set(LLAMA_BUILD_COMMON OFF)
