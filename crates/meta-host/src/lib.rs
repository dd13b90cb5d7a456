//! Edge: files, processes, environment, logging, exit codes
