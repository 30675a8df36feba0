// The file system of stargz-snapshotter for one layer, and the maker of eStargz layers.
//
//	stargz build <tar> <layer>: makes an eStargz layer of a tar archive; prints the digest of its table of contents
//	stargz mount <host> <repository> <layer digest> <toc digest> <mount point> <file>...: mounts the layer by FUSE from http://<host>/v2/<repository>,
//	prints the SHA-256 of each file, and unmounts
//	stargz ranges <host> <repository> <layer digest> <start>-<end>...: reads these spans (end exclusive) one after the other, each time what the
//	cache lacks, and prints the SHA-256 of each
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/reference"
	"github.com/containerd/stargz-snapshotter/cache"
	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/fs"
	"github.com/containerd/stargz-snapshotter/fs/config"
	"github.com/containerd/stargz-snapshotter/fs/remote"
	"github.com/containerd/stargz-snapshotter/fs/source"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const deadline = 60 * time.Second

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "stargz:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 3 && args[0] == "build":
		return build(args[1], args[2])
	case len(args) > 6 && args[0] == "mount":
		return mount(ctx, layerAt(args[1:4]), args[4], args[5], args[6:])
	case len(args) > 4 && args[0] == "ranges":
		return ranges(ctx, layerAt(args[1:4]), args[4:])
	}
	return fmt.Errorf("unknown command %q", args)
}

func layerAt(args []string) source.Source {
	hosts := func(reference.Spec) ([]docker.RegistryHost, error) {
		return []docker.RegistryHost{{
			Client: &http.Client{Transport: http.DefaultTransport, Timeout: deadline}, Host: args[0], Scheme: "http", Path: "/v2", Capabilities: docker.HostCapabilityPull,
		}}, nil
	}
	return source.Source{
		Hosts:  hosts,
		Name:   reference.Spec{Locator: "docker.io/" + args[1], Object: "1"},
		Target: ocispec.Descriptor{Digest: digest.Digest(args[2])},
	}
}

func build(archive, layer string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	blob, err := estargz.Build(io.NewSectionReader(file, 0, info.Size()))
	if err != nil {
		return err
	}
	defer blob.Close()
	out, err := os.Create(layer)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, blob); err != nil {
		return err
	}
	fmt.Println(blob.TOCDigest())
	return nil
}

func mount(ctx context.Context, layer source.Source, toc, mountPoint string, files []string) error {
	root, err := os.MkdirTemp("", "stargz-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	// Without these two it fetches all of a layer sooner or later, as a pull does.
	settings := config.Config{NoPrefetch: true, NoBackgroundFetch: true, NoPrometheus: true}
	sources := func(map[string]string) ([]source.Source, error) { return []source.Source{layer}, nil }
	filesystem, err := fs.NewFilesystem(root, settings, fs.WithGetSources(sources))
	if err != nil {
		return err
	}
	labels := map[string]string{estargz.TOCJSONDigestAnnotation: toc}
	if err := filesystem.Mount(ctx, mountPoint, labels); err != nil {
		return err
	}
	defer filesystem.Unmount(ctx, mountPoint)
	for _, name := range files {
		content, err := os.ReadFile(filepath.Join(mountPoint, name))
		if err != nil {
			return err
		}
		fmt.Printf("%x\n", sha256.Sum256(content))
	}
	return filesystem.Check(ctx, mountPoint, labels)
}

func ranges(ctx context.Context, layer source.Source, spans []string) error {
	blob, err := remote.NewResolver(config.BlobConfig{}, nil).Resolve(ctx, layer.Hosts, layer.Name, layer.Target, cache.NewMemoryCache())
	if err != nil {
		return err
	}
	defer blob.Close()
	for _, span := range spans {
		var start, end int64
		if _, err := fmt.Sscanf(span, "%d-%d", &start, &end); err != nil {
			return err
		}
		bytes := make([]byte, end-start)
		if _, err := blob.ReadAt(bytes, start); err != nil && err != io.EOF {
			return err
		}
		fmt.Printf("%x\n", sha256.Sum256(bytes))
	}
	return nil
}
