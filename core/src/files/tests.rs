use super::*;

#[test]
fn a_failed_write_leaves_the_older_file_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    write_atomic(&path, |w| w.write_all(b"old")).unwrap();
    let failed = write_atomic(&path, |w| {
        w.write_all(b"half of the new")?;
        Err(io::Error::other("disk full"))
    });
    assert_eq!(failed.unwrap_err().source.to_string(), "disk full");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_new_file_has_the_usual_permissions_and_a_replaced_one_keeps_its_own() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mode = |name: &str| fs::metadata(path(name)).unwrap().permissions().mode() & 0o7777;
    File::create(path("usual")).unwrap();
    write_atomic(&path("new"), |w| w.write_all(b"a")).unwrap();
    assert_eq!(mode("new"), mode("usual"));
    for kept in [0o600, 0o640, 0o666, 0o755, 0o400] {
        fs::write(path("old"), "old").unwrap();
        fs::set_permissions(path("old"), fs::Permissions::from_mode(kept)).unwrap();
        let file = AtomicFile::create(&path("old")).unwrap();
        let unfinished = file.writer.get_ref().as_file().metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(unfinished, kept, "{kept:o}");
        file.commit().unwrap();
        assert_eq!(mode("old"), kept, "{kept:o}");
        fs::remove_file(path("old")).unwrap();
    }
}

#[test]
fn a_file_that_fails_its_check_is_left_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let check = |written: &Path, good: bool| {
        assert_eq!(std::fs::read(written).unwrap(), b"new");
        if good { Ok(7) } else { Err(FileError::new("check", written, io::Error::other("bad"))) }
    };
    let fill = |w: &mut dyn Write| w.write_all(b"new").map_err(|e| FileError::new("write", &path, e));
    assert!(write_checked(&path, Existing::Replace, fill, |written, ()| check(written, false)).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(write_checked(&path, Existing::Replace, fill, |written, ()| check(written, true)).unwrap(), 7);
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
}

#[test]
fn a_file_that_appears_while_another_is_written_stays_if_it_is_to_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let fill = |w: &mut dyn Write| w.write_all(b"new").map_err(|e| FileError::new("write", &path, e));
    let appears = |_: &Path, ()| {
        fs::write(&path, "mine").unwrap();
        Ok(())
    };
    assert!(write_checked(&path, Existing::Keep, fill, appears).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    write_checked(&path, Existing::Replace, fill, appears).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
}

#[test]
fn the_hash_is_the_published_one_of_abc() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("abc");
    write_atomic(&path, |w| w.write_all(b"abc")).unwrap();
    assert_eq!(sha256(&path).unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[cfg(unix)]
#[test]
fn only_regular_files_are_replaced_and_links_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let pipe = path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::create_dir(path("folder")).unwrap();
    std::os::unix::fs::symlink("/dev/null", path("device")).unwrap();
    std::os::unix::fs::symlink("nothing", path("dangling")).unwrap();
    std::os::unix::fs::symlink("file", path("link")).unwrap();
    fs::write(path("file"), "old").unwrap();
    let write = |path: &Path| write_atomic(path, |w| w.write_all(b"new")).map_err(|e| e.source.to_string());
    for (name, reason) in [
        ("pipe", "it is a named pipe, expected a regular file"),
        ("folder", "is a directory"),
        ("device", "it is a device, expected a regular file"),
        ("dangling", DANGLING),
    ] {
        assert_eq!(write(&path(name)).unwrap_err(), reason, "{name}");
        assert_eq!(check_output(&path(name)).unwrap_err().source.to_string(), reason, "{name}");
    }
    assert_eq!(write(Path::new("/dev/full")).unwrap_err(), "it is a device, expected a regular file");
    check_output(&path("link")).unwrap();
    write(&path("link")).unwrap();
    assert_eq!(fs::read(path("file")).unwrap(), b"new");
    assert!(fs::symlink_metadata(path("link")).unwrap().is_symlink());
    assert_eq!(check_output(&path("none/file")).unwrap_err().source.kind(), io::ErrorKind::NotFound);
    check_output(&path("fresh")).unwrap();
    assert!(!path("fresh").exists());
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [&pipe, Path::new("/dev/zero"), folder.path()] {
        assert!(read_text(path).is_err() && sha256(path).is_err() && open_regular(path).is_err());
    }
}

#[test]
fn a_folder_that_is_not_there_yet_is_checked_by_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    check_output_folder(&folder.path().join("runs/new")).unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(check_output_folder(&file.join("runs")).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_growing_hash_is_that_of_the_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for (first, appended) in [(0, 0), (3, 0), (0, 5), (3_000_000, 17)] {
        fs::write(&path, vec![7; first]).unwrap();
        let hash = GrowingHash::start(&path).unwrap();
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&vec![9; appended]).unwrap();
        assert_eq!(hash.finish().unwrap(), sha256(&path).unwrap(), "{first} + {appended}");
    }
    assert!(GrowingHash::start(&folder.path().join("missing")).is_err());
}
