//! Pure heart: configuration, templates, matching, formats of our own files
