package cluster

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"

	"github.com/redoubt-dr/redoubt"
)

// The file format of bbolt v1.3, in which raft-wal keeps its meta database, little endian:
//
//	page     id u64, flags u16, count u16, overflow u32 (further pages); then, by flags:
//	meta     1 of pages 0 and 1: magic u32, version u32, page size u32, flags u32, root u64, sequence u64,
//	         free list u64, pages u64, transaction u64, FNV-1a u64 of these
//	branch   count of: position u32 (from here), key size u32, page u64; then the keys
//	leaf     count of: flags u32 (1: a bucket), position u32, key size u32, value size u32; then keys and values
//	bucket   root u64, sequence u64; with root 0 a page follows in the value
//	free     count of page ids u64
//
// Only the meta pages have a checksum. boltFile therefore holds everything else
// to what bbolt would have written: it maps nothing, and takes no lock.
const (
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	boltPageHeader = 16
	boltMetaLen    = 64
	boltMax        = 64 << 20 // of a file of some 64 KiB

	boltBranch = 0x01
	boltLeaf   = 0x02
	boltMeta   = 0x04
	boltFree   = 0x10
)

// boltFile is a bbolt file in memory.
type boltFile struct {
	raw   []byte
	size  uint64 // of a page
	pages uint64
	seen  map[uint64]bool
}

// boltItem is what a leaf says of a key. The value of a bucket is its description.
type boltItem struct {
	key, value []byte
	bucket     bool
}

func damaged(format string, v ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, v...), redoubt.ErrCorrupt)
}

// readBolt returns what a file's buckets hold, and the number of the transaction
// that wrote it. Both meta pages must hold, and every page be used, once, or free.
func readBolt(raw []byte) (buckets map[string]map[string][]byte, tx uint64, err error) {
	le := binary.LittleEndian
	if len(raw) < boltPageHeader+boltMetaLen {
		return nil, 0, damaged("%d bytes are no database", len(raw))
	}
	f := &boltFile{raw: raw, seen: map[uint64]bool{}}
	f.size = uint64(le.Uint32(raw[boltPageHeader+8:]))
	if f.size < 512 || f.size > 64<<10 || f.size&(f.size-1) != 0 || uint64(len(raw)) < 2*f.size {
		return nil, 0, damaged("pages of %d bytes", f.size)
	}
	var metas [2][]byte
	for i := range metas {
		if metas[i], err = f.meta(uint64(i)); err != nil {
			return nil, 0, err
		}
	}
	a, b := le.Uint64(metas[0][48:]), le.Uint64(metas[1][48:])
	if a != b+1 && b != a+1 {
		return nil, 0, damaged("meta pages of transactions %d and %d", a, b)
	}
	now := metas[0]
	if b > a {
		now = metas[1]
	}
	f.pages = le.Uint64(now[40:])
	if f.pages > uint64(len(raw))/f.size {
		return nil, 0, damaged("%d pages in %d bytes", f.pages, len(raw))
	}
	top, err := f.tree(le.Uint64(now[16:]))
	if err != nil {
		return nil, 0, err
	}
	buckets = map[string]map[string][]byte{}
	for _, it := range top {
		if !it.bucket {
			return nil, 0, damaged("a value %q among the buckets", it.key)
		}
		items, err := f.bucket(it.value)
		if err != nil {
			return nil, 0, err
		}
		m := map[string][]byte{}
		for _, v := range items {
			if v.bucket {
				return nil, 0, damaged("a bucket %q in a bucket", v.key)
			}
			m[string(v.key)] = v.value
		}
		buckets[string(it.key)] = m
	}
	return buckets, max(a, b), f.free(le.Uint64(now[32:]))
}

// meta checks page i, 0 or 1, and returns its contents.
func (f *boltFile) meta(i uint64) ([]byte, error) {
	le := binary.LittleEndian
	p := f.raw[i*f.size:]
	m := p[boltPageHeader : boltPageHeader+boltMetaLen]
	h := fnv.New64a()
	_, _ = h.Write(m[:56]) // a hash takes everything
	switch {
	case le.Uint64(p) != i || le.Uint16(p[8:]) != boltMeta || le.Uint16(p[10:]) != 0 || le.Uint32(p[12:]) != 0:
		return nil, damaged("header of meta page %d", i)
	case le.Uint64(m[56:]) != h.Sum64():
		return nil, damaged("checksum of meta page %d", i)
	case le.Uint32(m) != boltMagic:
		return nil, damaged("not a database of bbolt")
	case le.Uint32(m[4:]) != boltVersion:
		return nil, fmt.Errorf("version %d of bbolt: %w", le.Uint32(m[4:]), redoubt.ErrVersion)
	case uint64(le.Uint32(m[8:])) != f.size || le.Uint64(m[48:])%2 != i:
		return nil, damaged("meta page %d", i)
	}
	return m, nil
}

// page returns page id with those that belong to it, each of which may be used once.
func (f *boltFile) page(id uint64) ([]byte, error) {
	le := binary.LittleEndian
	if id < 2 || id >= f.pages {
		return nil, damaged("page %d of %d", id, f.pages)
	}
	p := f.raw[id*f.size : (id+1)*f.size]
	if le.Uint64(p) != id {
		return nil, damaged("page %d says that it is page %d", id, le.Uint64(p))
	}
	end := id + 1 + uint64(le.Uint32(p[12:]))
	if end > f.pages {
		return nil, damaged("page %d goes on to page %d of %d", id, end, f.pages)
	}
	for i := id; i < end; i++ {
		if f.seen[i] {
			return nil, damaged("page %d is used twice", i)
		}
		f.seen[i] = true
	}
	return f.raw[id*f.size : end*f.size], nil
}

// bucket returns what a bucket holds.
func (f *boltFile) bucket(v []byte) ([]boltItem, error) {
	le := binary.LittleEndian
	if len(v) < 16 || le.Uint64(v[8:]) != 0 {
		return nil, damaged("bucket")
	}
	if root := le.Uint64(v); root != 0 {
		if len(v) != 16 {
			return nil, damaged("bucket with a root and a page")
		}
		return f.tree(root)
	}
	p := v[16:]
	if len(p) < boltPageHeader || le.Uint64(p) != 0 || le.Uint16(p[8:]) != boltLeaf || le.Uint32(p[12:]) != 0 {
		return nil, damaged("page in a bucket")
	}
	items, end, err := leaf(p)
	if err == nil && end != len(p) {
		err = damaged("%d bytes behind a bucket's page", len(p)-end)
	}
	return items, err
}

// tree returns what the leaves under page id hold; the keys rise strictly.
func (f *boltFile) tree(id uint64) ([]boltItem, error) {
	p, err := f.page(id)
	if err != nil {
		return nil, err
	}
	switch flags := binary.LittleEndian.Uint16(p[8:]); flags {
	case boltLeaf:
		items, _, err := leaf(p)
		return items, err
	case boltBranch:
		return f.branch(p)
	default:
		return nil, damaged("page %d of kind %#x in a tree", id, flags)
	}
}

func (f *boltFile) branch(p []byte) (out []boltItem, err error) {
	le := binary.LittleEndian
	n := int(le.Uint16(p[10:]))
	at := boltPageHeader + 16*n
	if n == 0 || at > len(p) {
		return nil, damaged("branch of %d", n)
	}
	for i := range n {
		e := boltPageHeader + 16*i
		size := int64(le.Uint32(p[e+4:]))
		if int64(e)+int64(le.Uint32(p[e:])) != int64(at) || size > int64(len(p)-at) {
			return nil, damaged("place of a key in a branch")
		}
		key := p[at : at+int(size)]
		at += int(size)
		items, err := f.tree(le.Uint64(p[e+8:]))
		if err != nil {
			return nil, err
		}
		if len(items) == 0 || !bytes.Equal(items[0].key, key) || len(out) > 0 && bytes.Compare(out[len(out)-1].key, key) >= 0 {
			return nil, damaged("keys under a branch")
		}
		out = append(out, items...)
	}
	return out, nil
}

// leaf returns what a leaf holds, and where its last value ends.
func leaf(p []byte) (out []boltItem, end int, err error) {
	le := binary.LittleEndian
	n := int(le.Uint16(p[10:]))
	at := boltPageHeader + 16*n
	if at > len(p) {
		return nil, 0, damaged("leaf of %d", n)
	}
	for i := range n {
		e := boltPageHeader + 16*i
		flags, key, value := le.Uint32(p[e:]), int64(le.Uint32(p[e+8:])), int64(le.Uint32(p[e+12:]))
		if flags > 1 || int64(e)+int64(le.Uint32(p[e+4:])) != int64(at) || key+value > int64(len(p)-at) {
			return nil, 0, damaged("place of a value in a leaf")
		}
		it := boltItem{key: p[at : at+int(key)], value: p[at+int(key) : at+int(key+value)], bucket: flags == 1}
		if i > 0 && bytes.Compare(out[i-1].key, it.key) >= 0 {
			return nil, 0, damaged("order of keys in a leaf")
		}
		out = append(out, it)
		at += int(key + value)
	}
	return out, at, nil
}

// free checks that the pages which are not used are those in the free list.
func (f *boltFile) free(id uint64) error {
	le := binary.LittleEndian
	p, err := f.page(id)
	if err != nil {
		return err
	}
	n, at := uint64(le.Uint16(p[10:])), boltPageHeader
	if n == 0xFFFF {
		n, at = le.Uint64(p[at:]), at+8
	}
	if le.Uint16(p[8:]) != boltFree || n > uint64(len(p)-at)/8 {
		return damaged("free list of %d", n)
	}
	for i := range n {
		v := le.Uint64(p[at+8*int(i):])
		if v < 2 || v >= f.pages || f.seen[v] {
			return damaged("page %d in the free list", v)
		}
		f.seen[v] = true
	}
	if uint64(len(f.seen)) != f.pages-2 {
		return damaged("%d of %d pages are neither used nor free", f.pages-2-uint64(len(f.seen)), f.pages)
	}
	return nil
}
