# What `cmake --install` puts where: the program, the library with its headers and pkg-config file, the manual page, the
# bundled models, and the licences of all of it.

# The pkg-config file finds its prefix from where it lies, so that `cmake --install --prefix` may put it anywhere.
file(RELATIVE_PATH DISTILD_PC_PREFIX "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
foreach(kind LIB INCLUDE)
  set(DISTILD_PC_${kind} "\${prefix}/${CMAKE_INSTALL_${kind}DIR}")
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${kind}DIR}")
    set(DISTILD_PC_${kind} "${CMAKE_INSTALL_${kind}DIR}")
  endif()
endforeach()
# Named outright: required as a module, OpenBLAS would ask for the Fortran library that only its static form needs.
string(JOIN " " DISTILD_PC_OPENBLAS ${OPENBLAS_LDFLAGS})
configure_file(${PROJECT_SOURCE_DIR}/.cmake/distil.pc.in ${PROJECT_BINARY_DIR}/distil.pc @ONLY)

install(TARGETS distild RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS distil_static distil_shared
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  PUBLIC_HEADER DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${PROJECT_BINARY_DIR}/distil.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${PROJECT_SOURCE_DIR}/docs/distild.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/docs/third-party-notices.md
  DESTINATION ${CMAKE_INSTALL_DOCDIR})
# The models, their cards and their measured quality.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/weights/ DESTINATION ${CMAKE_INSTALL_DATADIR}/distild
  FILES_MATCHING PATTERN "*.distild" PATTERN "sample*catalogue*" PATTERN "*.md")
