# Every library distild needs, each with the Debian package that carries it, so that a missing one
# is named in a message a reader can act on.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# distild_require(TARGET PKG_CONFIG_MODULE DEBIAN_PACKAGE): makes the imported target PkgConfig::TARGET.
function(distild_require target module package)
  pkg_check_modules(${target} IMPORTED_TARGET GLOBAL ${module})
  if(NOT ${target}_FOUND)
    message(FATAL_ERROR "distild needs '${module}', which was not found. On Debian: apt-get install ${package}")
  endif()
endfunction()

distild_require(OPENBLAS openblas libopenblas-dev)
distild_require(MICROHTTPD libmicrohttpd libmicrohttpd-dev)
distild_require(GNUTLS gnutls libgnutls28-dev)
distild_require(JWT libjwt libjwt-dev)
distild_require(CRYPT libcrypt libcrypt-dev)
distild_require(CJSON libcjson libcjson-dev)
distild_require(UTF8PROC libutf8proc libutf8proc-dev)
distild_require(NETTLE nettle nettle-dev)
distild_require(SQLITE sqlite3 libsqlite3-dev)
distild_require(MD4C md4c libmd4c-dev)
if(DISTILD_TESTS)
  distild_require(CHECK check check)
endif()
