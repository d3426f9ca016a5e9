//! Pods as a person sees them: the real program runs real images of a real store, as root, and as ordinary users with
//! and without ID ranges. Each check is of a fact seen from inside of a pod, or of what a pod leaves on the host.
//!
//! The images hold a static busybox (Debian: `busybox-static`). As root the tests add two users to the machine.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod world;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};
use world::{Who, World, wait_until};

#[test]
fn a_pod_has_namespaces_of_its_own() {
    World::for_each(|world| {
        let script = "echo pid $$; cat /proc/1/comm; hostname; for n in mnt pid ipc uts net; do readlink /proc/self/ns/$n; done; tr '\\0' . </proc/1/cmdline";
        let output = world.sh(script).option("--set-env=SECRET=of-an-app").ok();
        let lines: Vec<_> = output.lines().collect();
        let pid: u32 = lines[0].strip_prefix("pid ").unwrap().parse().unwrap();
        assert!((2..10).contains(&pid), "{pid}");
        assert_eq!(lines[1], "dhow-init");
        let uuid = world.only_pod()["uuid"].as_str().unwrap().to_owned();
        assert_eq!(lines[2], format!("dhow-{uuid}"));
        assert_eq!(
            lines[8].trim_end_matches('.'),
            "dhow-init",
            "PID 1 shows nothing of how it was started"
        );
        for (name, inside) in ["mnt", "pid", "ipc", "uts", "net"].into_iter().zip(&lines[3..]) {
            let host = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
            assert!(inside.starts_with(name), "{inside}");
            assert_ne!(host.to_str().unwrap(), *inside, "{name}");
        }
    });
}

#[test]
fn the_network_is_loopback_or_the_host_s() {
    World::for_each(|world| {
        let addresses = world
            .sh("ip -o addr; ping -c 1 -w 2 127.0.0.1 >/dev/null && echo pong")
            .output();
        assert!(addresses.stdout.contains("127.0.0.1/8"), "{addresses:?}");
        let links = world.sh("ls /sys/class/net; cat /sys/class/net/lo/flags").ok();
        assert_eq!(links, "lo\n0x9\n", "IFF_UP and IFF_LOOPBACK");
        let host = fs::read_link("/proc/self/ns/net").unwrap();
        let inside = world.sh("readlink /proc/self/ns/net").option("--net=host").ok();
        assert_eq!(inside.trim(), host.to_str().unwrap());
    });
}

#[test]
fn an_app_gets_the_environment_of_the_specification_and_nothing_of_the_host() {
    World::for_each(|world| {
        let image = world.image(|image| {
            image.app["environment"] =
                json!([{"name": "FROM_IMAGE", "value": "a b"}, {"name": "BOTH", "value": "image"}]);
        });
        let run = world.run(&image).option("--set-env=BOTH=pod").option("--set-env=POD=1");
        let output = run
            .after("--environment=POD=app")
            .args(["-c", "env"])
            .env("SECRET_OF_HOST", "1")
            .ok();
        let mut lines: Vec<_> = output
            .lines()
            .filter(|line| !line.starts_with("SHLVL=") && !line.starts_with("PWD="))
            .collect();
        lines.sort_unstable();
        let expected = [
            "AC_APP_NAME=app",
            "BOTH=pod",
            "FROM_IMAGE=a b",
            "HOME=/root",
            "LOGNAME=root",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "POD=app",
            "SHELL=/bin/sh",
            "USER=root",
            "container=dhow",
        ];
        assert_eq!(lines, expected);
    });
}

#[test]
fn users_and_groups_are_looked_up_in_the_image() {
    World::for_each(|world| {
        let image = world.image(|image| {
            image.file("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n");
            image.file("etc/group", "root:x:0:\nstaff:x:50:\n");
            image.app["supplementaryGIDs"] = json!([7, 8]);
        });
        let id = "echo $(id -u):$(id -g):$(id -G):$HOME";
        let run = |user: &str, group: &str| {
            world
                .run(&image)
                .after(["--user", user, "--group", group])
                .args(["-c", id])
        };
        if world.who() == Who::Single {
            let output = run("0", "0").output();
            assert!(output.stdout.starts_with("0:0:"), "{output:?}");
            assert!(
                output
                    .stderr
                    .contains("app `app` does not get its supplementary groups"),
                "{output:?}"
            );
            let output = run("web", "0").output();
            assert_eq!(output.code, 1);
            assert!(output.stderr.contains("it cannot run as user 33"), "{output:?}");
            assert!(
                output.stderr.contains("hint: without ranges in `/etc/subuid`"),
                "{output:?}"
            );
            return;
        }
        assert_eq!(run("web", "staff").ok(), "33:50:50 7 8:/srv\n");
        assert_eq!(run("33", "1234").ok(), "33:1234:1234 7 8:/srv\n");
        assert_eq!(run("4321", "50").ok(), "4321:50:50 7 8:/\n");
        assert_eq!(run("/bin/busybox", "/bin/busybox").ok(), "0:0:0 7 8:/root\n");
        let output = run("ghost", "0").output();
        assert_eq!(output.code, 1);
        assert!(
            output
                .stderr
                .contains("the image has no user `ghost` in its `/etc/passwd`"),
            "{output:?}"
        );
    });
}

#[test]
fn capabilities_are_the_fourteen_or_what_isolators_and_flags_say() {
    World::for_each(|world| {
        let caps = |run: world::Run| {
            let output = run.args(["-c", "grep -E 'Cap|NoNewPrivs' /proc/self/status"]).output();
            let field = |name: &str| {
                let line = output
                    .stdout
                    .lines()
                    .find(|line| line.starts_with(name))
                    .unwrap_or_else(|| panic!("{output:?}"));
                line.split_whitespace().nth(1).unwrap().to_owned()
            };
            (
                field("CapEff"),
                field("CapBnd"),
                field("CapInh"),
                field("CapAmb"),
                field("NoNewPrivs"),
            )
        };
        let sets = |effective: &str, nnp: &str| {
            let zero = "0000000000000000".to_owned();
            (
                effective.to_owned(),
                effective.to_owned(),
                zero.clone(),
                zero,
                nnp.to_owned(),
            )
        };
        let plain = world.image(|_| {});
        assert_eq!(caps(world.run(&plain)), sets("00000000a80425fb", "0"));
        let retain = caps(world.run(&plain).after("--caps-retain=CAP_KILL,CAP_NET_ADMIN"));
        assert_eq!(retain, sets("0000000000001020", "0"));
        let isolated = world.image(|image| {
            image.app["isolators"] = json!([
                {"name": "os/linux/capabilities-remove-set", "value": {"set": ["CAP_CHOWN", "CAP_MKNOD"]}},
                {"name": "os/linux/no-new-privileges", "value": true},
                {"name": "resource/memory", "value": {"limit": "1G"}},
            ]);
        });
        assert_eq!(caps(world.run(&isolated)), sets("00000000a00425fa", "1"));
        let output = world.run(&isolated).args(["-c", "true"]).output();
        assert_eq!(
            output.stderr,
            "warning: isolator `resource/memory` of app `app` is ignored\n"
        );
        if world.who() != Who::Single {
            let (effective, bounding, ..) = caps(world.run(&plain).after("--user=12"));
            assert_eq!(
                (effective.as_str(), bounding.as_str()),
                ("0000000000000000", "00000000a80425fb")
            );
        }
    });
}

#[test]
fn set_user_id_programs_work_unless_new_privileges_are_forbidden() {
    World::for_each(|world| {
        // Without ranges there is one user, and so nobody to become another.
        if world.who() == Who::Single {
            return;
        }
        for (forbidden, user) in [(false, "0"), (true, "12")] {
            let image = world.image(|image| {
                // Its mode makes it run as its owner, which is the pod's root. (A busybox would drop that itself.)
                image.host_program("/bin/cat", "bin/owned", 0o4755);
                image.app["isolators"] = json!([{"name": "os/linux/no-new-privileges", "value": forbidden}]);
            });
            let output = world
                .run(&image)
                .after(["--user=12", "--exec=/bin/owned"])
                .args(["/proc/self/status"])
                .output();
            let line = output
                .stdout
                .lines()
                .find(|line| line.starts_with("Uid:"))
                .unwrap_or_else(|| panic!("{output:?}"));
            assert_eq!(line.split_whitespace().nth(2).unwrap(), user, "{line}");
        }
    });
}

#[test]
fn no_app_opens_a_device_that_it_makes() {
    World::for_each(|world| {
        // Where the kernel lets root make one at all: character device 1:3 is harmless, and stands for the disks.
        let script = "for d in / /dev /dev/shm /tmp; do mknod $d/n c 1 3 2>/dev/null || { echo unmade; continue; }; \
            (echo x >$d/n) 2>/dev/null && echo opened || echo refused; done";
        let output = world.sh(script).ok();
        assert!(!output.contains("opened"), "{output}");
        assert_eq!(output.lines().count(), 4);
        if world.who() == Who::Root {
            assert!(output.starts_with("refused\nrefused\n"), "{output}");
        }
    });
}

#[test]
fn devices_work_and_are_no_others() {
    World::for_each(|world| {
        let script = "ls /dev | tr '\\n' ' '; echo; \
            echo x >/dev/null && head -c 4 /dev/zero | od -An -tx1; head -c 8 /dev/urandom | wc -c; head -c 8 /dev/random | wc -c; \
            echo full >/dev/full || echo enospc; \
            echo shm >/dev/shm/x && cat /dev/shm/x; [ -e /dev/fd/1 ] && echo out; \
            stat -c '%F %t %T' -L /dev/ptmx; stat -c '%F' -L /dev/console; stat -c '%F %t %T' /dev/tty; \
            echo to-the-console >/dev/console; grep -c . /proc/mounts >/dev/null && stat -f -c %T /dev/mqueue /sys | tr '\\n' ' '";
        let output = world.sh(script).output();
        let lines: Vec<_> = output.stdout.lines().collect();
        assert_eq!(
            lines[0].trim(),
            "console fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
        );
        assert_eq!(lines[1].trim(), "00 00 00 00");
        assert_eq!(lines[2..4], ["8", "8"]);
        assert_eq!(lines[4..7], ["enospc", "shm", "out"], "{output:?}");
        assert_eq!(lines[7], "character special file 5 2");
        assert_eq!(lines[8], "character special file");
        assert_eq!(lines[9], "character special file 5 0");
        assert!(output.stderr.contains("to-the-console"), "{output:?}");
        assert!(lines[10].contains("sysfs"), "{output:?}");
        if world.who() == Who::Root {
            // The pipe is root's, and the app is not.
            assert_eq!(world.sh("echo again >/dev/stdout").after("--user=12").ok(), "again\n");
        }
    });
}

#[test]
fn the_kernel_s_files_are_masked_and_read_only() {
    World::for_each(|world| {
        let script = "cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c; ls /sys/firmware | wc -l; \
            echo x >/proc/sys/kernel/core_pattern; echo h >/proc/sysrq-trigger; \
            mkdir /sys/kernel/x; grep ' /sys ' /proc/mounts | grep -c ro,";
        let output = world.sh(script).output();
        assert_eq!(output.stdout, "0\n0\n1\n", "{output:?}");
        assert!(
            output.stderr.matches("Read-only file system").count() >= 2,
            "{output:?}"
        );
    });
}

#[test]
fn exit_codes_are_the_app_s() {
    World::for_each(|world| {
        for (script, code) in [
            ("exit 0", 0),
            ("exit 7", 7),
            ("kill -9 $$", 137),
            ("kill -TERM $$", 143),
            ("exit 255", 255),
        ] {
            assert_eq!(world.sh(script).output().code, code, "{script}");
            let pod = world.only_pod();
            assert_eq!(
                (pod["state"].as_str(), pod["apps"][0]["exit_code"].as_i64()),
                (Some("exited"), Some(code.into()))
            );
            world.pod(["rm", pod["uuid"].as_str().unwrap()]).ok();
        }
    });
}

#[test]
fn what_cannot_start_is_told_with_its_cause() {
    World::for_each(|world| {
        let image = world.image(|image| image.file_with_mode("bin/no-linker", b"#!/lib/ld-none\n", 0o755));
        let cases: [(&[&str], &str); 6] = [
            (
                &["--exec=nothing-here"],
                "`nothing-here` is not in the image (`PATH` is `/usr/local/sbin:",
            ),
            (&["--exec=/bin/nothing"], "`/bin/nothing` is not in the image"),
            (
                &["--exec=/etc/passwd"],
                "Could not execute `/etc/passwd`\n  cause: Permission denied",
            ),
            (
                &["--exec=/bin/no-linker"],
                "the interpreter or dynamic linker that `/bin/no-linker` names is not in the image",
            ),
            (
                &["--working-dir=/nowhere"],
                "Could not enter the working directory `/nowhere` of app `app`\n  cause: No such file",
            ),
            (&["--exec=/bin/true", "--name=BAD NAME"], "BAD NAME"),
        ];
        for (options, message) in cases {
            let output = options
                .iter()
                .fold(world.run(&image), |run, option| run.after(*option))
                .output();
            assert!(
                output.stderr.to_lowercase().contains(&message.to_lowercase()),
                "{options:?}: {output:?}"
            );
            assert_eq!(output.code, if message == "BAD NAME" { 2 } else { 1 }, "{output:?}");
        }
        let output = world.pod(["run", "sha512-000000000000"]).output();
        assert_eq!(output.code, 3);
        assert!(
            output
                .stderr
                .starts_with("error: No image `sha512-000000000000` is in the store\n"),
            "{output:?}"
        );
        let output = world.pod(["status", "00000000"]).output();
        assert_eq!(output.code, 3, "{output:?}");
        let nothing = world.image(|image| image.has_app = false);
        let output = world.run(&nothing).output();
        assert_eq!(output.code, 1);
        assert!(output.stderr.contains("does not say what to run"), "{output:?}");
        assert_eq!(world.run(&nothing).after("--exec=/bin/true").output().code, 0);
    });
}

#[test]
fn a_program_is_found_along_path_and_starts_in_its_directory() {
    World::for_each(|world| {
        let image = world.image(|image| {
            image.file_with_mode("opt/tool", b"#!/bin/sh\necho tool in $(pwd)\n", 0o755);
            image.app["exec"] = json!(["tool"]);
            image.app["workingDirectory"] = json!("/srv");
            image.app["environment"] = json!([{"name": "PATH", "value": "/nowhere:/opt:/bin"}]);
            image.directory("srv");
        });
        assert_eq!(world.run(&image).ok(), "tool in /srv\n");
        assert_eq!(world.run(&image).after("--working-dir=/opt").ok(), "tool in /opt\n");
    });
}

#[test]
fn nothing_of_a_pod_s_mounts_is_seen_on_the_host() {
    World::for_each(|world| {
        let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mut running = world
            .sh("mount -t tmpfs none /mnt 2>/dev/null; echo up; sleep 60")
            .after("--caps-retain=CAP_SYS_ADMIN")
            .start();
        running.expect_line("up");
        assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
        running.signal(libc::SIGTERM);
        running.wait();
        assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    });
}

#[test]
fn the_host_s_files_are_out_of_reach() {
    World::for_each(|world| {
        let secret = world.host_file("secret-of-the-host", "x");
        let script = format!(
            "ls {secret} /proc/1/root{secret} /proc/1/cwd{secret} /proc/self/root/..{secret} 2>/dev/null; \
             for fd in /proc/self/fd/*; do readlink $fd; done | grep -c {secret}; wc -l </proc/mounts"
        );
        // With every capability, nothing is reached but the empty root of PID 1.
        let all = "--caps-retain=CAP_SYS_PTRACE,CAP_SYS_ADMIN,CAP_DAC_OVERRIDE,CAP_DAC_READ_SEARCH,CAP_SYS_CHROOT";
        for options in [&[][..], &[all][..]] {
            let output = options
                .iter()
                .fold(world.sh(&script), |run, option| run.after(*option))
                .output();
            let lines: Vec<_> = output.stdout.lines().collect();
            assert_eq!(lines[0], "0", "{output:?}");
            assert_eq!(lines.len(), 2, "{output:?}");
        }
    });
}

#[test]
fn an_image_cannot_run_or_write_the_host_s_program() {
    World::for_each(|world| {
        let image = world.image(|image| {
            // CVE-2019-5736: the interpreter is whoever executes this, which is the runtime.
            image.file_with_mode("bin/trap", b"#!/proc/self/exe\n", 0o755);
        });
        let digest = fs::read(world.program()).unwrap();
        world.run(&image).after("--exec=/bin/trap").output();
        let script = "exec 3>>/proc/1/exe && echo opened; echo x >>/proc/1/exe && echo written";
        let all = "--caps-retain=CAP_SYS_PTRACE,CAP_DAC_OVERRIDE";
        let output = world.run(&image).after(all).args(["-c", script]).output();
        assert!(!output.stdout.contains("written"), "{output:?}");
        assert!(digest == fs::read(world.program()).unwrap(), "the program was changed");
        let exe = world
            .run(&image)
            .after(all)
            .args(["-c", "readlink /proc/1/exe"])
            .output();
        assert!(exe.stdout.is_empty() || exe.stdout.contains("memfd:"), "{exe:?}");
    });
}

#[test]
fn pid_1_reaps_orphans() {
    World::for_each(|world| {
        // Each `sleep` loses its parent, is seen as a child of PID 1, and ends before the second look.
        let script = "for i in 1 2 3 4 5; do (sleep 0.3 &); done; sleep 0.1; \
                      for status in /proc/[0-9]*/status; do grep -q '^Name:.sleep' $status && grep '^PPid' $status; done; \
                      sleep 0.5; cat /proc/[0-9]*/comm | grep -c sleep; cat /proc/[0-9]*/status | grep -c zombie";
        let output = world.sh(script).output();
        assert_eq!(output.stdout, format!("{}0\n0\n", "PPid:\t1\n".repeat(5)), "{output:?}");
    });
}

#[test]
fn signals_reach_the_app() {
    World::for_each(|world| {
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1] {
            let name = match signal {
                libc::SIGTERM => "TERM",
                libc::SIGINT => "INT",
                _ => "USR1",
            };
            let script = format!("trap 'echo got {name}; exit 9' {name}; echo up; while :; do sleep 0.05; done");
            let mut running = world.sh(&script).start();
            running.expect_line("up");
            running.signal(signal);
            running.expect_line(&format!("got {name}"));
            assert_eq!(running.wait(), 9);
        }
        let mut running = world.sh("echo up; exec sleep 60").start();
        running.expect_line("up");
        running.signal(libc::SIGTERM);
        assert_eq!(running.wait(), 143, "128 + 15");
    });
}

#[test]
fn an_interactive_app_has_the_terminal_and_others_have_none() {
    World::for_each(|world| {
        let script = "[ -t 0 ] && echo terminal; (: </dev/tty) 2>/dev/null && echo controlled; echo $TERM; \
                      sh -c 'kill -INT $$'; trap 'echo interrupted; exit 4' INT; echo up; while :; do sleep 0.05; done";
        let image = world.image(|_| {});
        let mut running = world
            .run(&image)
            .option("-t")
            .args(["-c", script])
            .env("TERM", "vt100")
            .start_in_terminal();
        for line in ["terminal", "controlled", "vt100", "up"] {
            running.expect_line(line);
        }
        running.type_in("\x03");
        running.expect_line("^Cinterrupted");
        assert_eq!(running.wait(), 4);

        let mut running = world.run(&image).args(["-c", script]).start_in_terminal();
        for line in ["terminal", "", "up"] {
            running.expect_line(line);
        }
        // The terminal signals the pod's parent, which passes it on.
        running.type_in("\x03");
        running.expect_line("^Cinterrupted");
        assert_eq!(running.wait(), 4);

        let output = world.run(&image).option("-t").args(["-c", "true"]).output();
        assert!(output.stderr.contains("`--interactive` needs a terminal"), "{output:?}");
    });
}

#[test]
fn a_pod_dies_with_its_parent_and_is_seen_exited() {
    World::for_each(|world| {
        let marker = format!("6{}", std::process::id());
        let mut running = world
            .sh(&format!("(sleep {marker} &); echo up; sleep {marker}"))
            .start();
        running.expect_line("up");
        assert_eq!(world.only_pod()["state"], "running");
        let pid = world.only_pod()["pid"].as_i64().unwrap();
        assert!(
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .unwrap()
                .starts_with("dhow-init")
        );
        running.signal(libc::SIGKILL);
        running.wait();
        wait_until(Duration::from_secs(5), || world.only_pod()["state"] == "exited");
        // The kernel lets go of the lock a moment before it has killed the rest.
        let is_there = || {
            let processes = Command::new("ps").args(["-eo", "args"]).output().unwrap();
            String::from_utf8_lossy(&processes.stdout).contains(&format!("sleep {marker}"))
        };
        wait_until(Duration::from_secs(2), || !is_there());
    });
}

#[test]
fn stop_asks_and_then_kills() {
    World::for_each(|world| {
        let mut running = world
            .sh("trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done")
            .start();
        running.expect_line("up");
        let uuid = world.only_pod()["uuid"].as_str().unwrap().to_owned();
        let output = world.pod(["rm", &uuid]).output();
        assert!(output.stderr.contains("is running and cannot be removed"), "{output:?}");
        assert_eq!(world.pod(["stop", &uuid[..8]]).ok(), format!("{uuid}\n"));
        assert_eq!(running.wait(), 3);
        let output = world.pod(["stop", &uuid]).output();
        assert_eq!(output.code, 1);
        assert!(
            output
                .stderr
                .contains("is exited, and only a pod that is running can be stopped"),
            "{output:?}"
        );
        world.pod(["rm", &uuid]).ok();

        let mut running = world.sh("trap '' TERM; echo up; while :; do sleep 0.05; done").start();
        running.expect_line("up");
        let uuid = world.only_pod()["uuid"].as_str().unwrap().to_owned();
        world.pod(["stop", "--timeout=200ms", &uuid]).ok();
        assert_eq!(running.wait(), 137);
        assert!(
            world
                .pod(["status", &uuid])
                .ok()
                .ends_with("exited=true\napp-app=137\n")
        );
    });
}

#[test]
fn a_root_file_system_is_a_clean_copy_and_can_be_read_only() {
    World::for_each(|world| {
        let image = world.image(|image| image.file("etc/kept", "as built\n"));
        let change =
            "echo changed >/etc/kept; echo new >/new; rm /etc/passwd; cat /etc/kept /new; ls -ld / | cut -c1-10";
        assert_eq!(
            world.run(&image).args(["-c", change]).ok(),
            "changed\nnew\ndrwxr-xr-x\n"
        );
        let look = "cat /etc/kept; ls /new /etc/passwd 2>/dev/null; true";
        assert_eq!(world.run(&image).args(["-c", look]).ok(), "as built\n/etc/passwd\n");
        let write = "echo x >/etc/kept; touch /new; echo y >/dev/shm/y && cat /dev/shm/y; cat /etc/hosts";
        let output = world
            .run(&image)
            .after("--readonly-rootfs")
            .args(["-c", write])
            .output();
        assert!(output.stdout.starts_with("y\n127.0.0.1\tlocalhost"), "{output:?}");
        assert_eq!(output.stderr.matches("Read-only file system").count(), 2, "{output:?}");
    });
}

#[test]
fn hosts_is_made_where_the_image_has_none() {
    World::for_each(|world| {
        let made = world
            .sh("cat /etc/hosts; ping -c1 -w1 localhost >/dev/null; hostname")
            .option("--hostname=box")
            .ok();
        assert_eq!(
            made,
            "127.0.0.1\tlocalhost box\n::1\tlocalhost ip6-localhost ip6-loopback\nbox\n"
        );
        let image = world.image(|image| image.file("etc/hosts", "127.0.0.1 mine\n"));
        assert_eq!(
            world.run(&image).args(["-c", "cat /etc/hosts"]).ok(),
            "127.0.0.1 mine\n"
        );
    });
}

#[test]
fn volumes_go_to_mount_points_by_name() {
    World::for_each(|world| {
        let source = world.host_directory("volume");
        fs::write(source.join("from-host"), "host\n").unwrap();
        world.give(&source);
        let image = world.image(|image| {
            image.app["mountPoints"] = json!([
                {"name": "data", "path": "/var/data"},
                {"name": "fixed", "path": "/fixed", "readOnly": true},
                {"name": "scratch", "path": "/made/up/scratch"},
            ]);
            image.file("fixed", "a file in the way");
        });
        let volume = format!("--volume=data,kind=host,source={}", source.display());
        let fixed = format!("--volume=fixed,kind=host,source={}", source.display());
        let script = "cat /var/data/from-host; echo back >/var/data/from-pod; touch /fixed/x; \
                      echo s >/made/up/scratch/s; stat -c '%a %u %g' /made/up/scratch; mount | grep -c /made/up/scratch";
        let output = world
            .run(&image)
            .option(&volume)
            .option(&fixed)
            .args(["-c", script])
            .output();
        assert_eq!(output.stdout, "host\n755 0 0\n1\n", "{output:?}");
        assert!(
            output
                .stderr
                .contains("a volume takes the place of the file `/fixed` of app `app`"),
            "{output:?}"
        );
        assert!(output.stderr.contains("/fixed/x: Read-only file system"), "{output:?}");
        assert_eq!(fs::read_to_string(source.join("from-pod")).unwrap(), "back\n");

        let manifest: Value = serde_json::from_str(
            &world
                .pod(["pod-manifest", world.only_pod()["uuid"].as_str().unwrap()])
                .ok(),
        )
        .unwrap();
        assert_eq!(
            manifest["apps"][0]["mounts"][2],
            json!({"volume": "app-scratch", "path": "/made/up/scratch"})
        );

        let read_only = format!("{volume},readOnly=true");
        let output = world
            .run(&image)
            .option(&read_only)
            .args(["-c", "rm /var/data/from-host"])
            .output();
        assert!(output.stderr.contains("Read-only file system"), "{output:?}");

        let link = source.with_file_name("link");
        symlink(&source, &link).unwrap();
        let output = world
            .run(&image)
            .option(&format!("--volume=data,kind=host,source={}", link.display()))
            .output();
        assert!(
            output.stderr.contains("is or goes through a symbolic link"),
            "{output:?}"
        );
        let output = world
            .run(&image)
            .option("--volume=data,kind=host,source=/no/such")
            .output();
        assert!(output.stderr.contains("`/no/such`") && output.code == 1, "{output:?}");

        let output = world
            .sh("cat /a/b/from-host")
            .option(&volume)
            .after("--mount=volume=data,target=/a/b")
            .ok();
        assert_eq!(output, "host\n");
    });
}

#[test]
fn an_image_s_links_do_not_lead_volumes_out_of_it() {
    World::for_each(|world| {
        let outside = world.host_directory("outside");
        world.give(&outside);
        let image = world.image(|image| {
            image.link("trap", outside.to_str().unwrap());
            image.app["mountPoints"] = json!([{"name": "data", "path": "/trap/inner/deep"}]);
        });
        world.run(&image).args(["-c", "echo x >/trap/inner/deep/y"]).output();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    });
}

#[test]
fn handlers_run_before_and_after_the_app() {
    World::for_each(|world| {
        let handlers = |before: &str| {
            json!([
                {"name": "pre-start", "exec": ["/bin/sh", "-c", before]},
                {"name": "post-stop", "exec": ["/bin/sh", "-c", "echo after $AC_APP_NAME; cat /trace"]},
            ])
        };
        let image = world.image(|image| image.app["eventHandlers"] = handlers("sleep 0.1; echo before >/trace"));
        let output = world.run(&image).args(["-c", "cat /trace; echo main; exit 5"]).output();
        assert_eq!(
            (output.stdout.as_str(), output.code),
            ("before\nmain\nafter app\nbefore\n", 5)
        );
        let failing = world.image(|image| image.app["eventHandlers"] = handlers("exit 4"));
        let output = world.run(&failing).args(["-c", "echo main"]).output();
        assert_eq!((output.stdout.as_str(), output.code), ("", 1));
        assert!(
            output.stderr.contains("its `pre-start` handler ended with code 4"),
            "{output:?}"
        );
    });
}

#[test]
fn apps_of_a_pod_share_all_but_their_files() {
    World::for_each(|world| {
        let image = world.image(|image| image.file("etc/own", "image\n"));
        let first = "echo one >/etc/own; echo shared >/dev/shm/note; for n in pid ipc uts net mnt; do readlink /proc/self/ns/$n; done; sleep 0.5";
        let second = "while [ ! -e /dev/shm/note ]; do sleep 0.02; done; cat /etc/own /dev/shm/note; for n in pid ipc uts net mnt; do readlink /proc/self/ns/$n; done; echo $AC_APP_NAME";
        let output = world
            .run(&image)
            .after("--name=one")
            .args([
                "-c",
                &format!("({first}) >/dev/shm/one; sleep 0.3; cat /dev/shm/one /dev/shm/two"),
            ])
            .next_app(&image, &["--name=two"], &["-c", &format!("({second}) >/dev/shm/two")])
            .ok();
        let lines: Vec<_> = output.lines().collect();
        assert_eq!(lines[..4], [lines[7], lines[8], lines[9], lines[10]], "{output}");
        assert_ne!(lines[4], lines[11], "each app has its own mount namespace");
        assert_eq!((lines[5], lines[6], lines[12]), ("image", "shared", "two"));

        // One app's failure stops the others, and is the pod's.
        let output = world
            .run(&image)
            .after("--name=one")
            .args(["-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"])
            .next_app(&image, &["--name=two"], &["-c", "exit 6"])
            .output();
        assert_eq!(output.code, 6, "{output:?}");
        let output = world.run(&image).next_app(&image, &[], &[]).output();
        assert!(
            output.stderr.contains("Two apps of the pod are called `app`"),
            "{output:?}"
        );
    });
}

#[test]
fn a_pod_is_prepared_run_once_listed_and_collected() {
    World::for_each(|world| {
        let image = world.image(|_| {});
        let uuid = world
            .pod([
                "prepare",
                &image,
                "--",
                "-c",
                "echo ran; touch /file; mkdir -m 000 /locked",
            ])
            .ok();
        let uuid = uuid.trim();
        assert_eq!(world.only_pod()["state"], "prepared");
        let table = world.pod(["list"]).ok();
        let mut lines = table.lines();
        assert!(
            lines
                .next()
                .unwrap()
                .starts_with("UUID      APP  IMAGE NAME       STATE     CREATED"),
            "{table}"
        );
        assert!(
            lines
                .next()
                .unwrap()
                .starts_with(&format!("{}  app  example.com/app  prepared  ", &uuid[..8])),
            "{table}"
        );
        assert_eq!(world.pod(["run-prepared", &uuid[..8]]).ok(), "ran\n");
        let output = world.pod(["run-prepared", uuid]).output();
        assert!(
            output
                .stderr
                .contains("is exited, and only a pod that is prepared can be run"),
            "{output:?}"
        );

        let never_run = world.pod(["prepare", &image]).ok();
        world.pod(["gc"]).ok();
        let states: Vec<_> = world
            .list()
            .iter()
            .map(|pod| pod["state"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(states, ["garbage", "prepared"]);
        world.pod(["gc"]).ok();
        assert_eq!(world.list().len(), 2, "the grace period is not over");
        world.pod(["gc", "--grace-period=0"]).ok();
        assert_eq!(world.only_pod()["uuid"], never_run.trim());
        world.pod(["gc", "--expire-prepared=0"]).ok();
        assert!(world.list().is_empty());
        assert_eq!(fs::read_dir(world.data().join("pods")).unwrap().count(), 0);
    });
}

#[test]
fn a_pod_can_leave_nothing_behind_and_tell_its_name() {
    World::for_each(|world| {
        let file = world.host_directory("run").join("uuid");
        world.give(file.parent().unwrap());
        let option = format!("--uuid-file-save={}", file.display());
        world.sh("chmod 000 /etc; exit 0").option(&option).option("--rm").ok();
        assert_eq!(fs::read_to_string(&file).unwrap().trim().len(), 36);
        assert!(world.list().is_empty());
    });
}

#[test]
fn a_pod_s_directory_is_closed_to_other_users() {
    World::for_each(|world| {
        world.sh("true").ok();
        let uuid = world.only_pod()["uuid"].as_str().unwrap().to_owned();
        let mode = fs::metadata(world.data().join("pods").join(uuid)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o700);
        assert_eq!(mode.uid(), world.uid());
    });
}

#[test]
fn help_names_every_command_with_an_example() {
    World::for_each(|world| {
        for command in [
            "run",
            "prepare",
            "run-prepared",
            "list",
            "status",
            "stop",
            "rm",
            "gc",
            "pod-manifest",
        ] {
            let help = world.pod([command, "--help"]).ok();
            assert!(
                help.contains(&format!("dhow-pod {command}")) && help.contains("Example"),
                "{help}"
            );
        }
    });
}
