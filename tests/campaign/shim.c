/* Every operation on the files below one folder, counted, and made to fail at one of them; and a clock that jumps.
 *
 * Built by faults.py and loaded before the C library (LD_PRELOAD), so that it stands before Python, torch, FFmpeg,
 * safetensors and zarr alike. Nothing happens before `fault_arm`. Linux with glibc.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { READS = 0, WRITES = 1 };

static char folder[PATH_MAX];
static size_t folder_length;
static long fails_at;
static int error_number, keeps_failing, only_writes;
static _Atomic long operations;
static _Atomic unsigned char watched[65536]; /* file descriptors of files below the folder */
static double jump_s;
static long jump_after;
static _Atomic long clock_reads;

void fault_arm(const char *path, long at, int number, int sticky, int writes) {
    folder_length = strlen(path);
    memcpy(folder, path, folder_length + 1);
    fails_at = at, error_number = number, keeps_failing = sticky, only_writes = writes;
    atomic_store(&operations, 0);
}

long fault_count(void) { return atomic_load(&operations); }

void fault_clock(double seconds, long after) { jump_s = seconds, jump_after = after; }

static int strikes(int writes) {
    if (!folder_length || (only_writes && !writes)) return 0;
    long number = atomic_fetch_add(&operations, 1);
    if (number != fails_at && !(keeps_failing && number > fails_at && fails_at >= 0)) return 0;
    errno = error_number;
    return 1;
}

static int below(int at, const char *path) {
    char whole[2 * PATH_MAX];
    if (!folder_length || !path) return 0;
    if (path[0] != '/') {
        if (at != AT_FDCWD) return at >= 0 && at < 65536 && watched[at];
        if (!getcwd(whole, PATH_MAX)) return 0;
        size_t length = strlen(whole);
        snprintf(whole + length, PATH_MAX, "/%s", path);
        path = whole;
    }
    return !strncmp(path, folder, folder_length);
}

static int is_watched(int fd) { return folder_length && fd >= 0 && fd < 65536 && watched[fd]; }

static int keep(int fd, int is_below) {
    if (fd >= 0 && fd < 65536) watched[fd] = is_below;
    return fd;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define OPEN(name)                                                                    \
    int name(const char *path, int flags, ...) {                                      \
        REAL(name);                                                                   \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        int ours = below(AT_FDCWD, path);                                             \
        if (ours && strikes((flags & O_ACCMODE) != O_RDONLY)) return -1;              \
        return keep(real(path, flags, mode), ours);                                   \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                  \
    int name(int at, const char *path, int flags, ...) {                              \
        REAL(name);                                                                   \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        int ours = below(at, path);                                                   \
        if (ours && strikes((flags & O_ACCMODE) != O_RDONLY)) return -1;              \
        return keep(real(at, path, flags, mode), ours);                               \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                                   \
    FILE *name(const char *path, const char *mode) {                                  \
        REAL(name);                                                                   \
        int ours = below(AT_FDCWD, path);                                             \
        if (ours && strikes(mode[0] != 'r')) return NULL;                             \
        FILE *file = real(path, mode);                                                \
        if (file) keep(fileno(file), ours);                                           \
        return file;                                                                  \
    }
FOPEN(fopen)
FOPEN(fopen64)

int close(int fd) { /* as Linux does it: the descriptor is gone even where an error is reported */
    REAL(close);
    int ours = is_watched(fd);
    keep(fd, 0);
    int done = real(fd);
    return ours && strikes(READS) ? -1 : done;
}

#define ON_FD(kind, result, name, parameters, arguments)  \
    result name parameters {                              \
        REAL(name);                                       \
        if (is_watched(fd) && strikes(kind)) return -1;   \
        return real arguments;                            \
    }
ON_FD(READS, ssize_t, read, (int fd, void *to, size_t size), (fd, to, size))
ON_FD(READS, ssize_t, pread, (int fd, void *to, size_t size, off_t at), (fd, to, size, at))
ON_FD(READS, ssize_t, pread64, (int fd, void *to, size_t size, off64_t at), (fd, to, size, at))
ON_FD(READS, ssize_t, readv, (int fd, const struct iovec *to, int count), (fd, to, count))
ON_FD(WRITES, ssize_t, write, (int fd, const void *from, size_t size), (fd, from, size))
ON_FD(WRITES, ssize_t, pwrite, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at))
ON_FD(WRITES, ssize_t, pwrite64, (int fd, const void *from, size_t size, off64_t at), (fd, from, size, at))
ON_FD(WRITES, ssize_t, writev, (int fd, const struct iovec *from, int count), (fd, from, count))
ON_FD(WRITES, int, fsync, (int fd), (fd))
ON_FD(WRITES, int, fdatasync, (int fd), (fd))
ON_FD(WRITES, int, ftruncate, (int fd, off_t size), (fd, size))
ON_FD(WRITES, int, ftruncate64, (int fd, off64_t size), (fd, size))
ON_FD(READS, int, fstat, (int fd, struct stat *to), (fd, to))
ON_FD(READS, int, fstat64, (int fd, struct stat64 *to), (fd, to))

#define ON_PATH(kind, name, parameters, arguments, at, path)  \
    int name parameters {                                     \
        REAL(name);                                           \
        if (below(at, path) && strikes(kind)) return -1;      \
        return real arguments;                                \
    }
ON_PATH(READS, stat, (const char *path, struct stat *to), (path, to), AT_FDCWD, path)
ON_PATH(READS, stat64, (const char *path, struct stat64 *to), (path, to), AT_FDCWD, path)
ON_PATH(READS, lstat, (const char *path, struct stat *to), (path, to), AT_FDCWD, path)
ON_PATH(READS, lstat64, (const char *path, struct stat64 *to), (path, to), AT_FDCWD, path)
ON_PATH(READS, fstatat, (int at, const char *path, struct stat *to, int flags), (at, path, to, flags), at, path)
ON_PATH(READS, fstatat64, (int at, const char *path, struct stat64 *to, int flags), (at, path, to, flags), at, path)
ON_PATH(WRITES, unlink, (const char *path), (path), AT_FDCWD, path)
ON_PATH(WRITES, unlinkat, (int at, const char *path, int flags), (at, path, flags), at, path)
ON_PATH(WRITES, rmdir, (const char *path), (path), AT_FDCWD, path)
ON_PATH(WRITES, mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
ON_PATH(WRITES, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode), at, path)
ON_PATH(WRITES, rename, (const char *old, const char *path), (old, path), AT_FDCWD, path)
ON_PATH(WRITES, renameat, (int from, const char *old, int at, const char *path), (from, old, at, path), at, path)

DIR *opendir(const char *path) {
    REAL(opendir);
    int ours = below(AT_FDCWD, path);
    if (ours && strikes(READS)) return NULL;
    DIR *entries = real(path);
    if (entries) keep(dirfd(entries), ours);
    return entries;
}

#define READDIR(name, entry)                                        \
    struct entry *name(DIR *entries) {                              \
        REAL(name);                                                 \
        if (is_watched(dirfd(entries)) && strikes(READS)) return NULL; \
        return real(entries);                                       \
    }
READDIR(readdir, dirent)
READDIR(readdir64, dirent64)

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int done = real(clock, now);
    if (!done && clock == CLOCK_REALTIME && jump_s && atomic_fetch_add(&clock_reads, 1) >= jump_after)
        now->tv_sec += (time_t)jump_s;
    return done;
}
