/* base/file_system.c - the machine's own file system, behind the seam of base/file.h.
 *
 * All is done relative to the directory's descriptor, so that a directory which is moved meanwhile
 * stays the one that was opened, and no link is followed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/file.h"

enum { PART_BATCH = 64, ZERO_SIZE = 64 << 10, LOCK_TRIES = 16 };

/* A directory that this process has locked, or is about to lock. */
typedef struct owned {
    struct owned *next;
    dev_t device;
    ino_t inode;
    pid_t pid; /* a forked child finds its parent's here, and they are not its own */
} owned;

struct mrl_dir {
    int fd;
    int lock_fd;  /* -1: not locked */
    owned *claim; /* NULL: not locked */
};

struct mrl_file {
    int fd;
};

/* ---- descriptors and names ---- */

/* A descriptor that is none of the first three, or -1 and errno. A host may have closed its
 * standard output; a file of ours in its place would get whatever somebody prints. */
static int move_up(int fd) {
    if (fd < 0 || fd > STDERR_FILENO) return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int error = errno;
    (void)close(fd);
    errno = error;
    return moved;
}

/* As openat, but gone on with after a signal. */
static int open_at(int dir_fd, const char *name, int flags, mode_t mode) {
    int fd;
    do {
        fd = openat(dir_fd, name, flags | O_CLOEXEC | O_NOFOLLOW, mode);
    } while (fd < 0 && errno == EINTR);
    return move_up(fd);
}

static int is_name(const char *name) {
    return name[0] != 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           strchr(name, '/') == NULL;
}

static int sync_dir_fd(int fd) {
    while (fsync(fd) != 0) {
        /* Some file systems cannot sync a directory: then there is nothing to be had for it. */
        if (errno == EINVAL) return 0;
        if (errno != EINTR) return errno;
    }
    return 0;
}

/* ---- directories ---- */

/* Makes the entry of `path` durable in the directory that it is in. */
static int sync_parent(char *path, int fd) {
    char *slash = strrchr(path, '/');
    int parent;
    if (slash == NULL) {
        parent = openat(AT_FDCWD, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } else {
        char kept = slash[1];
        slash[1] = 0; /* with its slash, so that "/name" has a parent, too */
        parent = openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        slash[1] = kept;
    }
    /* One may write in a directory that one may not read: then all of its file system is synced. */
    if (parent < 0) return errno == EACCES ? (syncfs(fd) == 0 ? 0 : errno) : errno;
    int err = sync_dir_fd(parent);
    (void)close(parent);
    return err;
}

static int dir_open_at(char *path, int create, mrl_dir *dir, int *out_created) {
    int made = 0;
    dir->fd = open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    if (dir->fd < 0 && errno == ENOENT && create) {
        made = mkdir(path, 0700) == 0;
        if (!made && errno != EEXIST) return errno;
        dir->fd = open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    }
    if (dir->fd < 0) return errno;
    /* Also where it was there already: whoever made it may have ended before its sync. */
    int err = create ? sync_parent(path, dir->fd) : 0;
    if (err != 0) {
        (void)close(dir->fd);
        if (made) (void)rmdir(path);
        return err;
    }
    *out_created = made;
    return 0;
}

static int dir_open(void *context, const char *path, int create, mrl_dir **out_dir,
                    int *out_created) {
    (void)context;
    *out_dir = NULL;
    *out_created = 0;
    int err = ENOMEM;
    mrl_dir *dir = calloc(1, sizeof *dir);
    char *copy = strdup(path);
    if (dir == NULL || copy == NULL) goto fail;
    dir->lock_fd = -1;
    /* A slash at the end would have a link followed. */
    for (size_t size = strlen(copy); size > 1 && copy[size - 1] == '/'; size--) copy[size - 1] = 0;
    err = dir_open_at(copy, create, dir, out_created);
    if (err != 0) goto fail;
    free(copy);
    *out_dir = dir;
    return 0;
fail:
    free(copy);
    free(dir);
    return err;
}

static int dir_each(mrl_dir *dir, mrl_dir_fn *fn, void *fn_context) {
    /* A description of its own: the position in the listing is nobody else's. */
    int fd = open_at(dir->fd, ".", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return errno;
    DIR *listing = fdopendir(fd);
    if (listing == NULL) {
        int err = errno;
        (void)close(fd);
        return err;
    }
    int err = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(listing);
        if (entry == NULL) {
            err = errno;
            break;
        }
        struct stat is;
        if (fstatat(dir->fd, entry->d_name, &is, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno == ENOENT) continue; /* removed meanwhile */
            err = errno;
            break;
        }
        if (S_ISREG(is.st_mode) && fn(fn_context, entry->d_name, (uint64_t)is.st_size) != 0) break;
    }
    (void)closedir(listing);
    return err;
}

static int dir_sync(mrl_dir *dir) {
    return sync_dir_fd(dir->fd);
}

static int dir_room(mrl_dir *dir, uint64_t *out_bytes) {
    struct statvfs is;
    *out_bytes = 0;
    while (fstatvfs(dir->fd, &is) != 0)
        if (errno != EINTR) return errno;
    if (__builtin_mul_overflow((uint64_t)is.f_bavail, (uint64_t)is.f_frsize, out_bytes))
        *out_bytes = UINT64_MAX;
    return 0;
}

/* ---- the lock ----
 * A lock of fcntl belongs to a process: a forked child does not have it and cannot keep it. But
 * closing any descriptor of the locked file drops it, and the process's own attempts always
 * succeed. So directories that this process has are noted here, by device and inode, and the lock
 * file of one that is noted is not even opened. */

/* The pid of who is at the list; 0: nobody. A fork may come while another thread is at it: then
 * the child finds its parent's pid here, and may go in. Lists are changed by one store, so that
 * what it finds is whole. */
static _Atomic pid_t list_user;
static owned *list_first;

static void list_enter(void) {
    pid_t self = getpid();
    for (;;) {
        pid_t user = atomic_load_explicit(&list_user, memory_order_relaxed);
        /* Acquire: pairs with the release in list_leave; we see what the one before us wrote. */
        if (user != self &&
            atomic_compare_exchange_weak_explicit(&list_user, &user, self, memory_order_acquire,
                                                  memory_order_relaxed))
            return;
        (void)sched_yield();
    }
}

static void list_leave(void) {
    atomic_store_explicit(&list_user, 0, memory_order_release);
}

/* Takes `claim` into the list, or tells that its directory is in it. */
static int claim_enter(owned *claim) {
    int err = 0;
    list_enter();
    for (const owned *other = list_first; other != NULL; other = other->next)
        if (other->device == claim->device && other->inode == claim->inode &&
            other->pid == claim->pid)
            err = EBUSY;
    if (err == 0) {
        claim->next = list_first;
        list_first = claim;
    }
    list_leave();
    return err;
}

static void claim_leave(owned *claim) {
    list_enter();
    for (owned **link = &list_first; *link != NULL; link = &(*link)->next)
        if (*link == claim) {
            *link = claim->next;
            break;
        }
    list_leave();
    free(claim);
}

/* Somebody may have removed or replaced the file between its opening and its locking: a lock on a
 * file that has no name any more keeps nobody out. */
static int is_still_named(int dir_fd, const char *name, int fd) {
    struct stat of_name, of_fd;
    return fstat(fd, &of_fd) == 0 && fstatat(dir_fd, name, &of_name, AT_SYMLINK_NOFOLLOW) == 0 &&
           of_fd.st_dev == of_name.st_dev && of_fd.st_ino == of_name.st_ino;
}

/* One try. EAGAIN: things moved meanwhile. */
static int lock_fd_try(int dir_fd, const char *name, int fd, uint64_t *out_pid) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct stat is;
    if (fstat(fd, &is) != 0) return errno;
    if (!S_ISREG(is.st_mode)) return EINVAL;
    if (fcntl(fd, F_SETLK, &lock) == 0) return is_still_named(dir_fd, name, fd) ? 0 : EAGAIN;
    if (errno != EACCES && errno != EAGAIN) return errno == EINTR ? EAGAIN : errno;
    lock.l_type = F_WRLCK;
    if (fcntl(fd, F_GETLK, &lock) != 0) return errno;
    if (lock.l_type == F_UNLCK) return EAGAIN; /* given up just now */
    *out_pid = lock.l_pid > 0 ? (uint64_t)lock.l_pid : 0;
    return EBUSY;
}

static int lock_file(int dir_fd, const char *name, uint64_t *out_pid, int *out_fd) {
    int err = EAGAIN;
    for (int i = 0; i < LOCK_TRIES && err == EAGAIN; i++) {
        int fd = open_at(dir_fd, name, O_RDWR | O_CREAT | O_NONBLOCK, 0600);
        if (fd < 0) return errno;
        err = lock_fd_try(dir_fd, name, fd, out_pid);
        if (err == 0)
            *out_fd = fd;
        else
            (void)close(fd); /* drops no lock: the claim says that this process has none */
    }
    return err == EAGAIN ? EBUSY : err;
}

static int dir_lock(mrl_dir *dir, const char *name, uint64_t *out_pid) {
    *out_pid = 0;
    if (!is_name(name)) return EINVAL;
    struct stat is;
    if (fstat(dir->fd, &is) != 0) return errno;
    owned *claim = calloc(1, sizeof *claim);
    if (claim == NULL) return ENOMEM;
    *claim = (owned){NULL, is.st_dev, is.st_ino, getpid()};
    int err = claim_enter(claim);
    if (err != 0) {
        free(claim);
        *out_pid = (uint64_t)getpid();
        return err;
    }
    err = lock_file(dir->fd, name, out_pid, &dir->lock_fd);
    if (err != 0)
        claim_leave(claim);
    else
        dir->claim = claim;
    return err;
}

static void dir_unlock(mrl_dir *dir) {
    if (dir->claim == NULL) return;
    /* Closed before the claim goes: else the next owner's lock could be dropped by our closing. */
    (void)close(dir->lock_fd);
    dir->lock_fd = -1;
    claim_leave(dir->claim);
    dir->claim = NULL;
}

static void dir_close(mrl_dir *dir) {
    if (dir == NULL) return;
    dir_unlock(dir);
    (void)close(dir->fd);
    free(dir);
}

/* ---- names ---- */

static int rename_file(mrl_dir *dir, const char *from, const char *to) {
    if (!is_name(from) || !is_name(to)) return EINVAL;
    return renameat(dir->fd, from, dir->fd, to) == 0 ? 0 : errno;
}

static int remove_file(mrl_dir *dir, const char *name) {
    if (!is_name(name)) return EINVAL;
    return unlinkat(dir->fd, name, 0) == 0 ? 0 : errno;
}

static int link_file(mrl_dir *dir, const char *name, mrl_dir *to_dir, const char *to_name) {
    struct stat is;
    if (!is_name(name) || !is_name(to_name)) return EINVAL;
    if (fstatat(dir->fd, name, &is, AT_SYMLINK_NOFOLLOW) != 0) return errno;
    if (!S_ISREG(is.st_mode)) return S_ISLNK(is.st_mode) ? ELOOP : EINVAL;
    return linkat(dir->fd, name, to_dir->fd, to_name, 0) == 0 ? 0 : errno;
}

/* ---- files ---- */

static int file_open(mrl_dir *dir, const char *name, mrl_file_mode mode, mrl_file **out_file) {
    *out_file = NULL;
    if (!is_name(name)) return EINVAL;
    int flags = O_NONBLOCK; /* opening a pipe that somebody has put there does not wait */
    flags |= mode == MRL_FILE_READ ? O_RDONLY : O_RDWR;
    if (mode == MRL_FILE_CREATE) flags |= O_CREAT | O_EXCL;
    mrl_file *file = malloc(sizeof *file);
    if (file == NULL) return ENOMEM;
    int err = 0;
    struct stat is;
    file->fd = open_at(dir->fd, name, flags, 0600);
    if (file->fd < 0 || fstat(file->fd, &is) != 0) {
        err = errno;
        goto fail;
    }
    if (!S_ISREG(is.st_mode)) {
        err = EINVAL;
        goto fail;
    }
    *out_file = file;
    return 0;
fail:
    if (file->fd >= 0) (void)close(file->fd);
    free(file);
    return err;
}

static void file_close(mrl_file *file) {
    if (file == NULL) return;
    /* A late error of writing is told by file_sync; who has not synced was promised nothing. */
    (void)close(file->fd);
    free(file);
}

static int file_size(mrl_file *file, uint64_t *out_size) {
    struct stat is;
    *out_size = 0;
    if (fstat(file->fd, &is) != 0) return errno;
    *out_size = (uint64_t)is.st_size;
    return 0;
}

/* All bytes from offset on are within what the system can name. */
static int is_range(uint64_t offset, uint64_t size) {
    return offset <= INT64_MAX && size <= INT64_MAX - offset;
}

static int file_read(mrl_file *file, uint64_t offset, void *out, size_t size, size_t *out_read) {
    *out_read = 0;
    if (!is_range(offset, size)) return EOVERFLOW;
    while (*out_read < size) {
        ssize_t got =
            pread(file->fd, (char *)out + *out_read, size - *out_read, (off_t)(offset + *out_read));
        if (got == 0) break;
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            int err = errno;
            *out_read = 0;
            return err;
        }
        *out_read += (size_t)got;
    }
    return 0;
}

/* Writes all of these, which it changes on the way. */
static int write_batch(int fd, uint64_t offset, struct iovec *first, int count) {
    while (count > 0) {
        if (first->iov_len == 0) {
            first++;
            count--;
            continue;
        }
        ssize_t put = pwritev(fd, first, count, (off_t)offset);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return errno;
        if (put == 0) return EIO; /* never said of a regular file; without this we would go on */
        offset += (uint64_t)put;
        for (size_t left = (size_t)put; left > 0;) {
            size_t here = left < first->iov_len ? left : first->iov_len;
            first->iov_base = (char *)first->iov_base + here;
            first->iov_len -= here;
            left -= here;
            if (first->iov_len == 0) {
                first++;
                count--;
            }
        }
    }
    return 0;
}

static int file_write(mrl_file *file, uint64_t offset, const mrl_file_part *parts, size_t count) {
    struct iovec batch[PART_BATCH];
    while (count > 0) {
        int filled = 0;
        uint64_t size = 0;
        for (; filled < PART_BATCH && (size_t)filled < count; filled++) {
            /* The system takes no constant pointer here, and writes nothing there. */
            batch[filled].iov_base = (void *)(uintptr_t)parts[filled].data;
            batch[filled].iov_len = parts[filled].size;
            size += parts[filled].size;
        }
        if (!is_range(offset, size)) return EFBIG;
        int err = write_batch(file->fd, offset, batch, filled);
        if (err != 0) return err;
        offset += size;
        parts += filled;
        count -= (size_t)filled;
    }
    return 0;
}

static int file_sync(mrl_file *file) {
    while (fdatasync(file->fd) != 0)
        if (errno != EINTR) return errno;
    return 0;
}

/* For file systems that cannot reserve: what is really written has its room. */
static int write_zeros(mrl_file *file, uint64_t offset, uint64_t end) {
    static const char zeros[ZERO_SIZE];
    while (offset < end) {
        size_t here = end - offset < ZERO_SIZE ? (size_t)(end - offset) : ZERO_SIZE;
        mrl_file_part part = {zeros, here};
        int err = file_write(file, offset, &part, 1);
        if (err != 0) return err;
        offset += here;
    }
    return 0;
}

static int file_reserve(mrl_file *file, uint64_t size) {
    uint64_t now;
    if (!is_range(size, 0)) return EFBIG;
    if (size == 0) return 0; /* the system refuses to reserve nothing */
    while (fallocate(file->fd, 0, 0, (off_t)size) != 0) {
        if (errno == EINTR) continue;
        if (errno != EOPNOTSUPP && errno != ENOSYS) return errno;
        int err = file_size(file, &now);
        return err != 0 ? err : write_zeros(file, now, size);
    }
    return 0;
}

static int file_truncate(mrl_file *file, uint64_t size) {
    if (!is_range(size, 0)) return EFBIG;
    while (ftruncate(file->fd, (off_t)size) != 0)
        if (errno != EINTR) return errno;
    return 0;
}

const mrl_files mrl_files_system = {
    .dir_open = dir_open,
    .dir_close = dir_close,
    .dir_each = dir_each,
    .dir_sync = dir_sync,
    .dir_lock = dir_lock,
    .dir_unlock = dir_unlock,
    .dir_room = dir_room,
    .rename = rename_file,
    .remove = remove_file,
    .link = link_file,
    .file_open = file_open,
    .file_close = file_close,
    .file_size = file_size,
    .file_read = file_read,
    .file_write = file_write,
    .file_sync = file_sync,
    .file_reserve = file_reserve,
    .file_truncate = file_truncate,
};
