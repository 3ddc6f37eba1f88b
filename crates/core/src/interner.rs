//! Texts that instances have in common, kept once.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use crate::{Instance, Version};

/// Makes instances share what nearly all instances of a service have in common: protocols, versions, regions and
/// zones. A process holds one [`Instance`] for each instance it can see, and these four are a quarter of what each
/// takes.
///
/// For codecs: keep one where instances are decoded, and hand every new instance through it.
///
/// ```
/// use std::sync::Arc;
/// use callsign_core::{Instance, Interner};
///
/// let mut interner = Interner::new();
/// let mut decode = || {
///     let mut instance = Instance::builder("orders").endpoint("http://10.0.0.5:80").build()?;
///     interner.share(&mut instance);
///     Ok::<_, callsign_core::Error>(instance)
/// };
/// let (one, other) = (decode()?, decode()?);
/// assert!(Arc::ptr_eq(&one.endpoints[0].protocol, &other.endpoints[0].protocol));
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Interner {
    texts: HashSet<Arc<str>>,
    versions: HashSet<Version>,
}

/// More different values than this are not in common: forgotten, so that no registry can make it grow.
const AT_MOST: usize = 1024;

impl Interner {
    /// An interner that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the texts of `instance` by equal ones that are known already.
    pub fn share(&mut self, instance: &mut Instance) {
        for endpoint in instance.endpoints.iter_mut() {
            once(&mut self.texts, &mut endpoint.protocol);
        }
        let places = [&mut instance.locality.region, &mut instance.locality.zone];
        for place in places.into_iter().flatten() {
            once(&mut self.texts, place);
        }
        if let Some(version) = &mut instance.version {
            once(&mut self.versions, version);
        }
    }
}

fn once<T: Clone + Eq + Hash>(known: &mut HashSet<T>, value: &mut T) {
    if let Some(known) = known.get(value) {
        *value = known.clone();
        return;
    }
    if known.len() >= AT_MOST {
        known.clear();
    }
    known.insert(value.clone());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Locality;

    #[test]
    fn instances_share_their_texts_and_stay_what_they_were() {
        let instance = |zone: &str| {
            let builder =
                Instance::builder("orders").id("a").endpoint("grpcs://10.0.0.5:80").version("1.2.3");
            let locality = Locality::unknown().with_region("eu").with_zone(zone);
            builder.locality(locality).registered_at(std::time::UNIX_EPOCH).build().unwrap()
        };
        let mut interner = Interner::new();
        let (mut one, mut other) = (instance("a"), instance("a"));
        interner.share(&mut one);
        interner.share(&mut other);
        assert_eq!((&one, &one), (&other, &instance("a")));
        let shared = |a: &Option<Arc<str>>, b: &Option<Arc<str>>| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        assert!(shared(&one.locality.zone, &other.locality.zone));
    }

    #[test]
    fn texts_that_are_all_different_do_not_pile_up() {
        let mut interner = Interner::new();
        for n in 0..AT_MOST * 3 {
            let locality = Locality::unknown().with_zone(format!("zone-{n}"));
            let builder = Instance::builder("orders").endpoint("http://h:1").locality(locality);
            interner.share(&mut builder.build().unwrap());
        }
        assert!(interner.texts.len() <= AT_MOST);
    }
}
