package config

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"
)

func (k *checker) source(c *Config) {
	s := c.Source
	if len(s.Targets) == 0 {
		k.add("source.targets", "is missing", "list master targets: [t1:7700, t2:7700, t3:7700]")
	}
	for i, t := range s.Targets {
		k.hostPort(fmt.Sprintf("source.targets[%d]", i), t, true)
	}
	if len(s.Groups) == 0 {
		k.add("source.groups", "is missing", "a source protects at least one group of disks")
	}
	names, dirs, paths := map[string]string{}, map[string]string{}, map[string]string{}
	for i, g := range s.Groups {
		key := fmt.Sprintf("source.groups[%d]", i)
		k.name(key+".name", "group", g.Name)
		k.unique(names, g.Name, key+".name")
		if s := c.NBDSocket(g.Name); s == c.AdminSocket() || "unix:"+s == c.Metrics.Listen {
			k.add(key+".name", strconv.Quote(g.Name)+" is the name of one of the daemon's own sockets", "choose another name")
		}
		k.journal(key+".journal", g.Journal)
		k.unique(dirs, clean(g.Journal.Dir), key+".journal.dir")
		k.redundancy(key+".redundancy", g.Redundancy)
		k.size(key+".memory", g.Memory, 16*MiB, TiB)
		k.nbd(key+".nbd", g.NBD)
		k.size(key+".verify.rate", g.Verify.Rate, MiB, 16*GiB)
		if g.Verify.Every != 0 {
			k.duration(key+".verify.every", g.Verify.Every, Duration(time.Minute), Duration(365*24*time.Hour))
		}
		k.disks(key+".disks", g.Disks, paths)
		k.hooks(key+".hooks", g.Hooks)
		if g.Lease != 0 {
			k.duration(key+".lease", g.Lease, Duration(15*time.Second), Duration(24*time.Hour))
		}
		if g.BookmarkEvery != 0 {
			k.duration(key+".bookmark_every", g.BookmarkEvery, Duration(time.Minute), Duration(7*24*time.Hour))
		}
	}
}

// nbd checks NBD over TCP: with clients it is TLS, without it must not leave
// the host.
func (k *checker) nbd(key string, n NBD) {
	k.size(key+".read_memory", n.ReadMemory, MiB, TiB)
	seen := map[string]string{}
	for i, name := range n.Clients {
		at := fmt.Sprintf("%s.clients[%d]", key, i)
		k.name(at, "client", name)
		k.unique(seen, name, at)
	}
	if n.Listen == "" {
		if len(n.Clients) > 0 {
			k.add(key+".listen", "is missing", "clients are for NBD over TCP, such as on 0.0.0.0:10809")
		}
		return
	}
	host, _, err := net.SplitHostPort(n.Listen)
	if ip := net.ParseIP(host); len(n.Clients) == 0 && err == nil && (ip == nil || !ip.IsLoopback()) {
		k.add(key+".listen", strconv.Quote(n.Listen)+" is no loopback address",
			"without TLS the disks are served to this host alone, such as on 127.0.0.1:10809; with clients: [NAME] they are served to the holders of these certificates")
		return
	}
	k.hostPort(key+".listen", n.Listen, false)
}

func (k *checker) hooks(key string, h Hooks) {
	seen := map[string]string{}
	for i, m := range h.Mounts {
		at := fmt.Sprintf("%s.mounts[%d]", key, i)
		k.path(at, m)
		k.unique(seen, clean(m), at)
		if clean(m) == "/" {
			k.add(at, "the file system that holds / is never frozen", "the daemon could not go on")
		}
	}
	if h.Scripts != "" {
		k.path(key+".scripts", h.Scripts)
	}
	k.duration(key+".time", h.Time, Duration(time.Second), Duration(10*time.Minute))
	k.duration(key+".hold", h.Hold, h.Time, Duration(time.Hour))
}

func (k *checker) journal(key string, j Journal) {
	if j.Dir != "" { // empty only if the group has no valid name, which is said
		k.path(key+".dir", j.Dir)
	}
	k.size(key+".segment", j.Segment, MiB, GiB)
	k.size(key+".max", j.Max, 4*MiB, 64*TiB)
	if j.Max < 4*j.Segment {
		k.add(key+".max", fmt.Sprintf("%s holds fewer than four segments of %s", j.Max, j.Segment), "raise max or lower segment")
	}
	k.oneOf(key+".on_full", j.OnFull, "track", "block")
	k.duration(key+".full_wait", j.FullWait, 0, Duration(time.Hour))
}

func (k *checker) redundancy(key string, r Redundancy) {
	if r.Data < 1 || r.Data > 16 {
		k.add(key+".data", strconv.Itoa(r.Data)+" is out of range", "1 to 16 data shards")
	}
	if r.Parity < 1 || r.Parity > 8 {
		k.add(key+".parity", strconv.Itoa(r.Parity)+" is out of range", "1 to 8 parity shards: so many nodes may be lost")
	}
}

func (k *checker) disks(key string, disks []Disk, paths map[string]string) {
	if len(disks) == 0 {
		k.add(key, "is missing", "a group has at least one disk: [{name: root, path: /srv/root.img}]")
	}
	names := map[string]string{}
	for i, d := range disks {
		at := fmt.Sprintf("%s[%d]", key, i)
		k.name(at+".name", "disk", d.Name)
		k.unique(names, d.Name, at+".name")
		k.path(at+".path", d.Path)
		k.unique(paths, clean(d.Path), at+".path")
	}
}

func clean(p string) string {
	if p == "" {
		return ""
	}
	return filepath.Clean(p)
}
