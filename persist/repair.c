#include "persist/care.h"
merle_err mrl_repair(mrl_care *care, const char *path, const char *to) {
    (void)care; (void)path; (void)to;
    return MERLE_UNSUPPORTED;
}
