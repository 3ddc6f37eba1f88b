//! What Nacos takes as an instance and as a name: `ParamCheckRule`.

use serde_json::Value;

/// Why a request about this place is refused.
pub(super) fn check_place(namespace: &str, group: &str, service: &str) -> Result<(), String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let illegal = |what: &str| {
        Err(format!("Param '{what}' is illegal, illegal characters should not appear in the param."))
    };
    if namespace.is_empty() || namespace.len() > 64 || !namespace.bytes().all(word) {
        return illegal("namespaceId/tenant");
    }
    if group.is_empty()
        || group.len() > 128
        || !group.bytes().all(|byte| word(byte) || matches!(byte, b':' | b'.'))
    {
        return illegal("group");
    }
    let chinese = |c: char| ('\u{4e00}'..='\u{9fa5}').contains(&c);
    let bad = service.starts_with('@')
        || service.contains("@@")
        || service.chars().any(|c| c.is_whitespace() || chinese(c));
    if service.is_empty() || service.chars().count() > 512 || bad {
        return illegal("serviceName");
    }
    Ok(())
}

/// Why an instance is refused.
pub(super) fn check(instance: &Value) -> Result<(), String> {
    let text = |key: &str| instance[key].as_str().unwrap_or_default();
    let cluster = text("clusterName");
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if cluster.len() > 64 || !cluster.bytes().all(word) {
        return Err(
            "Param 'cluster' is illegal, illegal characters should not appear in the param.".to_owned()
        );
    }
    if text("ip").is_empty() || text("ip").len() > 128 {
        return Err("Param 'ip' is illegal, the param length should not exceed 128.".to_owned());
    }
    if instance["port"].as_u64().is_none_or(|port| port > 65_535) {
        return Err("Param 'port' is illegal, the value should be between 0 and 65535.".to_owned());
    }
    let weight = instance["weight"].as_f64().unwrap_or(1.0);
    if !(0.0..=10_000.0).contains(&weight) {
        return Err("Param 'weight' is illegal.".to_owned());
    }
    let metadata = instance["metadata"].as_object();
    let length = |text: &str| text.encode_utf16().count();
    let taken: usize = metadata
        .into_iter()
        .flatten()
        .map(|(key, value)| length(key) + length(value.as_str().unwrap_or_default()))
        .sum();
    if taken > 1024 {
        return Err(format!(
            "Param 'Metadata' is illegal, the param length should not exceed 1024, is {taken}."
        ));
    }
    Ok(())
}
