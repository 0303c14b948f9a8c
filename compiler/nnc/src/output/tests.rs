//! Tests of output files.

use super::*;
use std::io::Write;

fn listing(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.so");
    let partial = write(&path, |out| {
        out.write_all(b"half").unwrap();
        Err(Failure::user("no"))
    });
    assert!(partial.is_err());
    assert_eq!(listing(folder.path()), 0);
    write(&path, |out| out.write_all(b"whole").map_err(|e| refuse(&path, &e))).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    check_writable(&path).unwrap();
    assert_eq!(listing(folder.path()), 1);
}

#[test]
fn inputs_are_known_by_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("model"), "m").unwrap();
    std::fs::write(path("other"), "m").unwrap();
    std::fs::hard_link(path("model"), path("hard")).unwrap();
    std::os::unix::fs::symlink("model", path("soft")).unwrap();
    let check = |written: &str| check_apart(&path(written), [path("other").as_path(), &path("model")]);
    for same in ["model", "hard", "soft", "./model"] {
        assert!(check(same).unwrap_err().to_string().contains("would replace"), "{same}");
    }
    check("new").unwrap();
}

#[test]
fn says_what_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let error = check_writable(folder.path()).unwrap_err().to_string();
    assert!(error.contains("cannot be written: it is there and not"), "{error}");
    let error = check_writable(&folder.path().join("no/x.so")).unwrap_err().to_string();
    assert!(error.contains("no/x.so: cannot be written: No such file"), "{error}");
}
