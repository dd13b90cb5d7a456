# The chosen gitlab-runner, which may be a real one, comes before the stand-in among our binaries; those before the system's.
PATH=/usr/local/bin:/opt/target/debug:/usr/bin:/bin:/usr/sbin:/sbin
export PATH
