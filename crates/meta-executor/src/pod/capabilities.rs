//! What a pod's root may do: as much as docker's.

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use super::PodError;

/// What docker's root may do, as bits (capabilities(7); moby: `oci/caps/defaults.go`). In a user namespace some of it means
/// nothing, but a program whose file wants what is not here cannot be started at all: Debian's `ping` wants `CAP_NET_RAW`.
const DOCKERS: u64 = 0xa804_25fb;

/// Takes the others from the programs that this process becomes or starts, for ever.
pub(super) fn keep_dockers() -> Result<(), PodError> {
    let kept = CapabilitySet::from_bits_retain(DOCKERS);
    for capability in CapabilitySet::all().difference(kept).iter() {
        match remove_capability_from_bounding_set(capability) {
            // A kernel that is older than us lacks the last ones.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(source) => {
                return Err(PodError::Namespace { action: "drop capabilities", source: source.into() });
            }
        }
    }
    Ok(())
}
