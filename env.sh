# Source this file (". ./env.sh", from any folder) in bash, zsh or dash after 'make setup': python, colcon, gdi and the
# built package are then those of this tree.

_gdi_find_root() {
    if [ -n "${BASH_VERSION:-}" ]; then
        _gdi_file=${BASH_SOURCE[1]}
    elif [ -n "${ZSH_VERSION:-}" ]; then
        _gdi_file=$1
    else
        # Other shells do not tell a sourced file its name; on Linux the shell still holds it open.
        _gdi_file=
        for _gdi_link in /proc/$$/fd/*; do
            _gdi_link=$(readlink "$_gdi_link" 2>/dev/null)
            case $_gdi_link in */env.sh) _gdi_file=$_gdi_link ;; esac
        done
        _gdi_file=${_gdi_file:-./env.sh}
    fi
    _gdi_root=$(unset CDPATH; cd "$(dirname "$_gdi_file")" 2>/dev/null && pwd -P)
}

# A folder in front of a colon-separated list, once.
_gdi_prepend() {
    case ":$2:" in
        *":$1:"*) printf '%s' "$2" ;;
        ::) printf '%s' "$1" ;;
        *) printf '%s' "$1:$2" ;;
    esac
}

_gdi_activate() {
    if [ ! -f "$_gdi_root/.venv/environment.sh" ] || [ ! -f "$_gdi_root/build/build.stamp" ]; then
        echo "env.sh: this tree is not set up: run 'make setup' in ${_gdi_root:-its folder} first." >&2
        return 1
    fi
    . "$_gdi_root/.venv/environment.sh"
    if [ -n "$gdi_ros_prefix" ]; then
        case ":${AMENT_PREFIX_PATH:-}:" in
            *":$gdi_ros_prefix:"*) ;;
            *)
                echo "env.sh: this tree was set up with the ROS at $gdi_ros_prefix: source that ROS first, or run 'make setup' without it." >&2
                return 1
                ;;
        esac
    else
        # Wheels: this tree's ROS is the only one, and Python finds the libraries itself when it starts.
        export AMENT_PREFIX_PATH="$_gdi_root/.venv" CMAKE_PREFIX_PATH="$_gdi_root/.venv"
        unset PYTHONPATH COLCON_PREFIX_PATH
    fi
    # Left over from another environment it would keep this one's Python from finding its libraries.
    unset _ROS_WHEELS_BOOTSTRAP_COMPLETE
    PATH=$(_gdi_prepend "$_gdi_root/.venv/bin" "$PATH")
    export PATH VIRTUAL_ENV="$_gdi_root/.venv"
    COLCON_CURRENT_PREFIX="$_gdi_root/install"
    . "$_gdi_root/install/local_setup.sh"
    unset COLCON_CURRENT_PREFIX
    # An empty entry, which a hook leaves behind, would mean the current folder.
    LD_LIBRARY_PATH=${LD_LIBRARY_PATH%:}
}

if [ -n "${ZSH_VERSION:-}" ]; then
    eval '_gdi_find_root "${(%):-%x}"'
else
    _gdi_find_root
fi
_gdi_activate
_gdi_status=$?
unset -f _gdi_find_root _gdi_prepend _gdi_activate
unset _gdi_root _gdi_file _gdi_link gdi_ros_prefix
if [ "$_gdi_status" -ne 0 ]; then
    unset _gdi_status
    false
else
    unset _gdi_status
fi
