#!/bin/sh
# A Grid Engine of one ordinary user below $SGE_ROOT: queue master and one execution host with $1 slots. Ends with them.
set -e
mkdir -p "$SGE_ROOT/$SGE_CELL/common" "$SGE_ROOT/qmaster/job_scripts" "$SGE_ROOT/execd" "$SGE_ROOT/database"
programs=/usr/lib/gridengine
ln -s /usr/share/gridengine/util "$SGE_ROOT/util"
for folder in bin utilbin lib; do
    mkdir "$SGE_ROOT/$folder"
    ln -s $programs "$SGE_ROOT/$folder/lx-amd64"
done
cat >"$SGE_ROOT/$SGE_CELL/common/bootstrap" <<END
admin_user        $USER
default_domain    none
ignore_fqdn       true
spooling_method   berkeleydb
spooling_lib      libspoolb
spooling_params   $SGE_ROOT/database
binary_path       $programs
qmaster_spool_dir $SGE_ROOT/qmaster
security_mode     none
listener_threads  2
worker_threads    2
scheduler_threads 1
END
echo node1 >"$SGE_ROOT/$SGE_CELL/common/act_qmaster"
cd "$SGE_ROOT"
$programs/spoolinit berkeleydb libspoolb "$SGE_ROOT/database" init
sed "s|^execd_spool_dir.*|execd_spool_dir $SGE_ROOT/execd|" /usr/share/gridengine/default-configuration >configuration
$programs/spooldefaults configuration configuration
$programs/spooldefaults complexes /usr/share/gridengine/util/resources/centry
$programs/spooldefaults usersets /usr/share/gridengine/util/resources/usersets
$programs/spooldefaults managers "$USER"

export SGE_ND=1 # no daemons: they end with this script
$programs/sge_qmaster &
until qconf -sconf >/dev/null 2>&1; do sleep 0.1; done
qconf -as node1
{ echo hostname node1; printf '%s NONE\n' load_scaling complex_values user_lists xuser_lists projects xprojects usage_scaling report_variables; } >host
qconf -Ae host
qconf -sq | sed "s|^qname.*|qname main.q|; s|^hostlist.*|hostlist node1|; s|^pe_list.*|pe_list NONE|; s|^slots.*|slots $1|
    s|^shell .*|shell /bin/sh|; s|^load_thresholds.*|load_thresholds NONE|" >queue
qconf -Aq queue
qconf -ssconf | sed "s|^schedule_interval.*|schedule_interval 0:0:1|; s|^flush_submit_sec.*|flush_submit_sec 1|
    s|^flush_finish_sec.*|flush_finish_sec 1|; s|^job_load_adjustments.*|job_load_adjustments NONE|" >scheduler
qconf -Msconf scheduler
$programs/sge_execd &
: >up
wait
