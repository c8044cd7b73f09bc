package blockdev

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// illegal is run by nbdsh, with libnbd's own checks off. Each line is a request
// that must fail with this error; after each the connection must be in sync.
const illegal = `
import errno
h.set_strict_mode(0)
h.add_meta_context("base:allocation")
h.connect_uri("URI/d1?socket=SOCKET")
size = h.get_size()
MAX = 32 << 20
BAD = 1 << 9
mark = bytes(range(256)) * 2
h.pwrite(mark, size - 512)
h.pwrite(mark, 0)
tried = 0
def want(n, f):
    global tried
    tried += 1
    got = 0
    try:
        f()
    except nbd.Error as e:
        got = e.errnum
    assert got == n, (tried, errno.errorcode.get(got, got), errno.errorcode.get(n, n))
    assert not h.aio_is_dead(), (tried, "the connection is gone")
    assert h.pread(512, size - 512) == mark, (tried, "the end has changed")
    assert h.pread(512, 0) == mark, (tried, "the beginning has changed")
def status(handle, count, off, flags=0):
    handle.block_status(count, off, lambda *a: 0, flags)

far = 2**64 - 512
for n, f in (
        (errno.EINVAL, lambda off, n: h.pread(n, off)),
        (errno.ENOSPC, lambda off, n: h.pwrite(b"x" * n, off)),
        (errno.EINVAL, lambda off, n: h.trim(n, off)),
        (errno.ENOSPC, lambda off, n: h.zero(n, off)),
        (errno.EINVAL, lambda off, n: h.cache(n, off)),
        (errno.EINVAL, lambda off, n: status(h, n, off))):
    want(n, lambda: f(size - 512, 513))
    want(n, lambda: f(size, 1))
    want(n, lambda: f(size + 4096, 512))
    want(n, lambda: f(far, 512))
    want(n, lambda: f(far, 1024))
want(errno.EINVAL, lambda: h.pread(MAX + 1, 0))
want(errno.EINVAL, lambda: h.pwrite(b"x" * (MAX + 512), 0))
want(errno.ENOSPC, lambda: h.zero(2**32 - 1, 0))
want(errno.EINVAL, lambda: h.trim(2**32 - 1, 0))
for flag in (BAD, nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_REQ_ONE, nbd.CMD_FLAG_FAST_ZERO):
    want(errno.EINVAL, lambda: h.pread(512, 0, flag))
    want(errno.EINVAL, lambda: h.pwrite(b"x" * 512, 0, flag))
    want(errno.EINVAL, lambda: h.trim(512, 0, flag))
    want(errno.EINVAL, lambda: h.cache(512, 0, flag))
    want(errno.EINVAL, lambda: h.flush(flag))
for flag in (BAD, nbd.CMD_FLAG_DF, nbd.CMD_FLAG_REQ_ONE):
    want(errno.EINVAL, lambda: h.zero(512, 0, flag))
for flag in (BAD, nbd.CMD_FLAG_DF, nbd.CMD_FLAG_NO_HOLE):
    want(errno.EINVAL, lambda: status(h, 512, 0, flag))
    want(errno.EINVAL, lambda: h.pwrite(b"x" * 512, 0, flag | nbd.CMD_FLAG_FUA))
want(errno.EINVAL, lambda: status(h, 0, 0))

# What looks odd and is legal.
want(0, lambda: h.pread(0, size))
want(0, lambda: h.pwrite(b"", 5))
want(0, lambda: h.trim(0, 5))
want(0, lambda: h.zero(0, size))
want(0, lambda: h.cache(0, 0))
want(0, lambda: h.cache(4097, 3))
want(0, lambda: h.pread(MAX, 1))
want(0, lambda: h.pread(512, 0, nbd.CMD_FLAG_DF))
want(0, lambda: status(h, 4096, 3, nbd.CMD_FLAG_REQ_ONE))
want(0, lambda: h.pwrite(b"hello", 1234567, nbd.CMD_FLAG_FUA))
assert h.pread(5, 1234567) == b"hello"
want(0, lambda: h.zero(3, 1234568, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_FUA))
assert h.pread(5, 1234567) == b"h\0\0\0o"
want(0, lambda: h.trim(3, 1234567, nbd.CMD_FLAG_FUA))
assert h.pread(5, 1234567) == b"\0\0\0\0o"
want(0, lambda: h.flush())
h.shutdown()

# A client without structured replies and contexts; a disk that is read-only.
for name, denied in (("d1", 0), ("ro", errno.EPERM)):
    old = nbd.NBD()
    old.set_strict_mode(0)
    old.set_request_structured_replies(False)
    old.connect_uri("URI/" + name + "?socket=SOCKET")
    h = old
    want(errno.EINVAL, lambda: status(old, 512, 0))
    want(errno.EINVAL, lambda: old.pread(512, 0, nbd.CMD_FLAG_DF))
    for f in (lambda: old.pwrite(b"x" * 512, 4096), lambda: old.trim(512, 4096), lambda: old.zero(512, 4096)):
        want(denied, f)
    want(0, lambda: old.flush())
    want(0, lambda: old.cache(512, 0))
    old.shutdown()
print(tried, "requests")
`

// TestNbdshIllegal sends what libnbd would refuse by itself.
func TestNbdshIllegal(t *testing.T) {
	needTool(t, "python3-libnbd", "nbdsh")
	st := newSite(t, 40<<20)
	if err := st.s.Add(Export{Name: "ro", Volume: st.g.Volumes()[0], ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	script := strings.NewReplacer("URI", "nbd+unix://", "SOCKET", st.sock).Replace(illegal)
	out, err := nbdsh(script)
	if strings.Contains(out, "No module named") {
		t.Skipf("nbdsh does not run here: %s", out)
	}
	if err != nil || !strings.Contains(out, "requests") {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", strings.TrimSpace(out))
	// The judge judges: an error that does not come is noticed.
	if out, err := nbdsh(strings.Replace(script, "want(errno.EINVAL, lambda: h.pread(MAX + 1, 0))", "want(errno.EINVAL, lambda: h.pread(MAX, 0))", 1)); err == nil {
		t.Errorf("a request without the error that was wanted passed: %s", out)
	}
}

func nbdsh(script string) (string, error) {
	cmd := exec.Command("nbdsh", "-c", script)
	// The binding belongs to the distribution's Python, whatever else is first in the path.
	cmd.Env = append(os.Environ(), "PATH=/usr/bin:"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}
