//! `callsign.toml` in the current directory. The only test of its process: it changes that directory.

use callsign::Callsign;

#[tokio::test]
async fn the_file_of_the_current_directory_is_read_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    std::env::set_current_dir(folder.path()).unwrap();
    let key = || {
        let callsign = Callsign::builder()
            .environment([("CALLSIGN_GROUP", "blue")])
            .factory(callsign_memory::factory())
            .build()
            .unwrap();
        callsign.key("orders").unwrap().to_string()
    };
    assert_eq!(key(), "default/blue/orders");
    std::fs::write("callsign.toml", "namespace = \"staging\"").unwrap();
    assert_eq!(key(), "staging/blue/orders");

    std::fs::write("callsign.toml", "registry = 5").unwrap();
    assert_eq!(
        Callsign::load().unwrap_err().to_string(),
        "`registry` in callsign.toml: the number `5` found, expected text in quotes"
    );
}
