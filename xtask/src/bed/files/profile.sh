# Our binaries come before those of the system.
PATH=/opt/target/debug:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
export PATH
