package dbload

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Postgres is a PostgreSQL cluster with data checksums. The server runs as the
// user postgres, because it refuses to run as root.
type Postgres struct {
	Dir string // on the file system under test
	Run string // for its socket, not there
	cmd *exec.Cmd
	s   *session
}

// Name says what it is.
func (d *Postgres) Name() string { return "PostgreSQL" }

// Can says whether the host has it.
func (d *Postgres) Can() error {
	if d.bin("postgres") == "postgres" {
		return errors.New("no /usr/lib/postgresql/*/bin/postgres")
	}
	_, err := user.Lookup("postgres")
	return err
}

// bin finds a program of the newest version.
func (d *Postgres) bin(name string) string {
	all, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(all) == 0 {
		return name
	}
	return all[len(all)-1]
}

func (d *Postgres) command(name string, args ...string) (*exec.Cmd, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	c := exec.Command(d.bin(name), args...)
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return c, errors.Join(err1, err2)
}

func (d *Postgres) run(name string, args ...string) error {
	c, err := d.command(name, args...)
	if err != nil {
		return err
	}
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}

const settings = `
listen_addresses = ''
shared_buffers = 16MB
max_connections = 10
min_wal_size = 4MB
max_wal_size = 12MB
checkpoint_timeout = 30s
`

// Create makes the cluster. It is open then.
func (d *Postgres) Create() error {
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return err
	}
	if err := d.own(d.Dir); err != nil {
		return err
	}
	if err := d.run("initdb", "-D", d.Dir, "-k", "-A", "trust", "-U", "judge", "--wal-segsize=1", "--no-locale", "-E", "UTF8", "-N"); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(d.Dir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(settings); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := d.Open(); err != nil {
		return err
	}
	_, err = d.s.ask(fmt.Sprintf(`CREATE EXTENSION amcheck; CREATE TABLE moves (n integer PRIMARY KEY, pad text); CREATE INDEX pads ON moves (pad);
CREATE TABLE accounts (id integer PRIMARY KEY, amount integer); INSERT INTO accounts SELECT i, 0 FROM generate_series(0, %d) i; SELECT 1;`, accounts-1))
	return err
}

// own gives a folder to the server's user.
func (d *Postgres) own(dir string) error {
	c, err := d.command("postgres")
	if err != nil {
		return err
	}
	return os.Chown(dir, int(c.SysProcAttr.Credential.Uid), int(c.SysProcAttr.Credential.Gid))
}

// Open starts the server, which recovers, and connects to it.
func (d *Postgres) Open() error {
	if err := errors.Join(os.MkdirAll(d.Run, 0o755), d.own(d.Run)); err != nil {
		return err
	}
	var err error
	if d.cmd, err = d.command("postgres", "-D", d.Dir, "-k", d.Run); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(d.Run, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := exec.Command(d.bin("pg_isready"), "-q", "-h", d.Run, "-U", "judge", "-d", "postgres").Run()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(filepath.Join(d.Run, "log"))
			d.end(syscall.SIGKILL)
			return fmt.Errorf("the server does not come up: %w\n%s", err, said)
		}
	}
	if d.s, err = newSession(d.bin("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", d.Run, "-U", "judge", "-d", "postgres"); err != nil {
		return err
	}
	_, err = d.s.ask("SELECT 1;")
	return err
}

// Commit commits transaction n.
func (d *Postgres) Commit(n int) error {
	return d.s.commit(n, statements(n, fmt.Sprintf("lpad('%d', 300, '0')", n)))
}

// Close ends session and server in order.
func (d *Postgres) Close() error {
	err := d.s.close()
	return errors.Join(err, d.end(syscall.SIGINT))
}

// Kill ends both at once.
func (d *Postgres) Kill() {
	if d.s != nil {
		d.s.kill()
	}
	if d.cmd != nil && d.cmd.Process != nil {
		_ = d.end(syscall.SIGKILL) // it may have ended
	}
}

func (d *Postgres) end(sig syscall.Signal) error {
	if err := d.cmd.Process.Signal(sig); err != nil {
		return err
	}
	err := d.cmd.Wait()
	if sig == syscall.SIGKILL {
		return nil
	}
	return err
}

// Check holds the open cluster against its own checks (pg_amcheck, and
// pg_checksums of the stopped server) and the transactions, and stops it. It
// returns the number of the last transaction.
func (d *Postgres) Check() (int, error) {
	rows, err1 := d.s.ask("SELECT count(*), coalesce(max(n), 0), count(*) FILTER (WHERE pad <> lpad(n::text, 300, '0')) FROM moves;")
	amounts, err2 := d.s.ask("SELECT string_agg(id || ':' || amount, ',' ORDER BY id) FROM accounts;")
	err3 := d.run("pg_amcheck", "-h", d.Run, "-U", "judge", "-d", "postgres", "--heapallindexed")
	if err := errors.Join(err1, err2, err3, d.Close()); err != nil {
		return 0, err
	}
	n, err := judge(rows, amounts)
	return n, errors.Join(err, d.run("pg_checksums", "--check", "-D", d.Dir))
}
